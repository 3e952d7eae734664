// The GNU Scientific Library (GPL-3). The caller tests, after each iteration, with its own test.
#include "harness.h"

#include <gsl/gsl_errno.h>
#include <gsl/gsl_multimin.h>

#include <algorithm>

namespace {

using Kind = const gsl_multimin_fdfminimizer_type*;

// Its manual's advice for the accuracy of the line search.
const double SEARCH_TOLERANCE = 0.1;
const double FIRST_STEP = 1.0;

template <Kind* kind>
class Descent final : public Solver {
public:
    Descent(std::ptrdiff_t n, const Limits& limits)
        : limits(limits), function(n), minimizer(gsl_multimin_fdfminimizer_alloc(*kind, n)) {
        gsl_set_error_handler_off();
    }

    ~Descent() override { gsl_multimin_fdfminimizer_free(minimizer); }

    void solve(const Objective& objective, double* at, Answer& answer) override {
        const std::ptrdiff_t n = function.n;
        gsl_vector_view start = gsl_vector_view_array(at, n);
        gsl_multimin_function_fdf functions = {value, gradient, both, std::size_t(n), &function};
        function.start(objective);
        int status = gsl_multimin_fdfminimizer_set(minimizer, &functions, &start.vector,
                                                   FIRST_STEP, SEARCH_TOLERANCE);
        while (status == GSL_SUCCESS && answer.iterations < limits.maxiter &&
               norm_max(minimizer->gradient->data, n) > limits.gtol) {
            status = gsl_multimin_fdfminimizer_iterate(minimizer);
            answer.iterations++;
        }
        std::copy(minimizer->x->data, minimizer->x->data + n, at);
        answer.nfev = function.nfev;
    }

private:
    static double value(const gsl_vector* x, void* function) {
        Remembered& remembered = *static_cast<Remembered*>(function);
        remembered.evaluate(x->data);
        return remembered.value;
    }

    static void gradient(const gsl_vector* x, void* function, gsl_vector* out) {
        Remembered& remembered = *static_cast<Remembered*>(function);
        remembered.evaluate(x->data);
        std::copy(remembered.gradient.begin(), remembered.gradient.end(), out->data);
    }

    static void both(const gsl_vector* x, void* function, double* out, gsl_vector* slopes) {
        gradient(x, function, slopes);
        *out = static_cast<Remembered*>(function)->value;
    }

    Limits limits;
    Remembered function;
    gsl_multimin_fdfminimizer* minimizer;
};

}  // namespace

// Its BFGS keeps no matrix: it is memoryless, of the last pair alone.
const Entry ENTRIES[] = {
    {"bfgs", make<Descent<&gsl_multimin_fdfminimizer_vector_bfgs2>>},
    {"cg", make<Descent<&gsl_multimin_fdfminimizer_conjugate_pr>>},
    {"cg, fletcher-reeves", make<Descent<&gsl_multimin_fdfminimizer_conjugate_fr>>},
    {nullptr, nullptr},
};

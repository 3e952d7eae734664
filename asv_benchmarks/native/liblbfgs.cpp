// liblbfgs (MIT). Its own test, |g|_2 <= epsilon max(1, |x|_2), is switched off; the callback that it
// offers after each iteration tests the infinity norm.
#include "harness.h"

#include <lbfgs.h>

#include <algorithm>

namespace {

class Limited final : public Solver {
public:
    Limited(std::ptrdiff_t n, const Limits& limits)
        : n(n), gtol(limits.gtol), x(lbfgs_malloc(n)) {
        lbfgs_parameter_init(&parameters);
        parameters.m = limits.pairs;
        parameters.epsilon = 0;
        parameters.max_iterations = limits.maxiter;
    }

    ~Limited() override { lbfgs_free(x); }

    void solve(const Objective& of, double* at, Answer& result) override {
        objective = of;
        answer = &result;
        std::copy(at, at + n, x);
        lbfgs(n, x, nullptr, evaluate, progress, this, &parameters);
        std::copy(x, x + n, at);
    }

private:
    static double evaluate(void* self, const double* x, double* gradient, int n, double) {
        Limited& solver = *static_cast<Limited*>(self);
        double value;
        solver.objective.function(x, &value, gradient, n, solver.objective.context);
        solver.answer->nfev++;
        return value;
    }

    static int progress(void* self, const double*, const double* gradient, double, double, double,
                        double, int n, int k, int) {
        Limited& solver = *static_cast<Limited*>(self);
        solver.answer->iterations = k;
        return norm_max(gradient, n) <= solver.gtol;
    }

    std::ptrdiff_t n;
    double gtol;
    double* x;
    lbfgs_parameter_t parameters;
    Objective objective{};
    Answer* answer = nullptr;
};

}  // namespace

const Entry ENTRIES[] = {{"l-bfgs", make<Limited>}, {nullptr, nullptr}};

// NLopt (LGPL). It has no test of the gradient: the first evaluation whose gradient is small enough
// ends the solve, and its point is the answer.
#include "harness.h"

#include <nlopt.h>

#include <algorithm>

namespace {

template <nlopt_algorithm algorithm>
class Descent final : public Solver {
public:
    Descent(std::ptrdiff_t n, const Limits& limits)
        : n(n), limits(limits), options(nlopt_create(algorithm, n)) {
        nlopt_set_min_objective(options, evaluate, this);
        nlopt_set_maxeval(options, limits.maxiter);      // it does not count iterations
        if (limits.pairs) nlopt_set_vector_storage(options, limits.pairs);
    }

    ~Descent() override { nlopt_destroy(options); }

    void solve(const Objective& of, double* at, Answer& result) override {
        double value;
        objective = of;
        answer = &result;
        end = at;
        found = false;
        start.assign(at, at + n);
        nlopt_set_force_stop(options, 0);
        nlopt_optimize(options, start.data(), &value);
        if (!found) std::copy(start.begin(), start.end(), at);
    }

private:
    static double evaluate(unsigned n, const double* x, double* gradient, void* self) {
        Descent& solver = *static_cast<Descent*>(self);
        double value;
        solver.objective.function(x, &value, gradient, n, solver.objective.context);
        solver.answer->nfev++;
        if (gradient && norm_max(gradient, n) <= solver.limits.gtol) {
            std::copy(x, x + n, solver.end);
            solver.found = true;
            nlopt_force_stop(solver.options);
        }
        return value;
    }

    std::ptrdiff_t n;
    Limits limits;
    nlopt_opt options;
    std::vector<double> start;
    Objective objective{};
    Answer* answer = nullptr;
    double* end = nullptr;
    bool found = false;
};

}  // namespace

const Entry ENTRIES[] = {
    {"l-bfgs", make<Descent<NLOPT_LD_LBFGS>>},
    {"newton-cg", make<Descent<NLOPT_LD_TNEWTON>>},
    {nullptr, nullptr},
};

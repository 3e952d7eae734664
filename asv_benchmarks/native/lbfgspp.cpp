// LBFGSpp (MIT). Its test, |g|_2 <= epsilon, is left with epsilon = 0, and it has no callback: where
// the infinity norm is small enough it is shown a gradient of zero.
#include "harness.h"

#include <LBFGS.h>

#include <algorithm>
#include <exception>

namespace {

template <template <class> class Search, int linesearch>
class Limited final : public Solver {
public:
    Limited(std::ptrdiff_t n, const Limits& limits)
        : n(n), gtol(limits.gtol), parameters(parametrise(limits)), solver(parameters), x(n) {}

    void solve(const Objective& objective, double* at, Answer& answer) override {
        double value;
        auto evaluate = [&](const Eigen::VectorXd& point, Eigen::VectorXd& gradient) {
            double there;
            objective.function(point.data(), &there, gradient.data(), n, objective.context);
            answer.nfev++;
            if (norm_max(gradient.data(), n) <= gtol) gradient.setZero();
            return there;
        };
        std::copy(at, at + n, x.data());
        try {
            answer.iterations = solver.minimize(evaluate, x, value);
        } catch (const std::exception&) {
            // A line search that failed; the point tells how far it came.
        }
        std::copy(x.data(), x.data() + n, at);
    }

private:
    static LBFGSpp::LBFGSParam<double> parametrise(const Limits& limits) {
        LBFGSpp::LBFGSParam<double> parameters;
        parameters.m = limits.pairs;
        parameters.epsilon = 0;
        parameters.epsilon_rel = 0;
        parameters.max_iterations = limits.maxiter;
        parameters.linesearch = linesearch;
        return parameters;
    }

    std::ptrdiff_t n;
    double gtol;
    LBFGSpp::LBFGSParam<double> parameters;
    LBFGSpp::LBFGSSolver<double, Search> solver;
    Eigen::VectorXd x;
};

}  // namespace

// Backtracking is its default search; by the Armijo condition alone, which is the default as well, it
// gives up on the Rosenbrock function.
const Entry ENTRIES[] = {
    {"l-bfgs", make<Limited<LBFGSpp::LineSearchBacktracking,
                            LBFGSpp::LBFGS_LINESEARCH_BACKTRACKING_WOLFE>>},
    {"l-bfgs, nocedal-wright", make<Limited<LBFGSpp::LineSearchNocedalWright,
                                            LBFGSpp::LBFGS_LINESEARCH_BACKTRACKING_STRONG_WOLFE>>},
    {nullptr, nullptr},
};

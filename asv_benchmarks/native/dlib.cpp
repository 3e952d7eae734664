// dlib (Boost Software License). Its stop strategy is a class of the caller's.
#include "harness.h"

// Its own products of matrices: no BLAS, which it may have been configured for, to link or to thread.
#include <dlib/algs.h>  // reads its configuration, as does the next one
#include <dlib/test_for_odr_violations.h>
#undef DLIB_USE_BLAS
#include <dlib/optimization.h>

#include <algorithm>
#include <exception>

namespace {

using Vector = dlib::matrix<double, 0, 1>;

class Stop {
public:
    Stop(const Limits& limits, std::ptrdiff_t& iterations)
        : limits(limits), iterations(iterations) {}

    bool should_continue_search(const Vector&, double, const Vector& gradient) {
        if (norm_max(gradient.begin(), gradient.size()) <= limits.gtol) return false;
        if (iterations == limits.maxiter) return false;
        iterations++;
        return true;
    }

private:
    const Limits& limits;
    std::ptrdiff_t& iterations;
};

template <class Strategy>
Strategy make_strategy(const Limits&) { return Strategy(); }

template <>
dlib::lbfgs_search_strategy make_strategy(const Limits& limits) {
    return dlib::lbfgs_search_strategy(limits.pairs);
}

template <class Strategy>
class Descent final : public Solver {
public:
    Descent(std::ptrdiff_t n, const Limits& limits)
        : limits(limits), function(n), x(n), gradient(n) {}

    void solve(const Objective& objective, double* at, Answer& answer) override {
        function.start(objective);
        std::copy(at, at + function.n, x.begin());
        auto value = [this](const Vector& point) {
            function.evaluate(point.begin());
            return function.value;
        };
        auto slopes = [this](const Vector& point) -> const Vector& {
            function.evaluate(point.begin());
            std::copy(function.gradient.begin(), function.gradient.end(), gradient.begin());
            return gradient;
        };
        try {
            dlib::find_min(make_strategy<Strategy>(limits), Stop(limits, answer.iterations), value,
                           slopes, x, -1e300);
        } catch (const std::exception&) {
            // Values that are not finite; the point tells how far it came.
        }
        std::copy(x.begin(), x.end(), at);
        answer.nfev = function.nfev;
    }

private:
    Limits limits;
    Remembered function;
    Vector x, gradient;
};

}  // namespace

const Entry ENTRIES[] = {
    {"bfgs", make<Descent<dlib::bfgs_search_strategy>>},
    {"l-bfgs", make<Descent<dlib::lbfgs_search_strategy>>},
    {"cg", make<Descent<dlib::cg_search_strategy>>},
    {nullptr, nullptr},
};

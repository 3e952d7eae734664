// What a solver looks like to the harness. harness.cpp times; every other source is one library.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstring>
#include <memory>
#include <vector>

// fastopt's own signature (fastopt/core/abi.pxd): `grad` may be null (the value alone), `value` may
// be null (the gradient alone); 0 is success.
using ValueGrad = int (*)(const double* x, double* value, double* grad, std::ptrdiff_t n,
                          void* context);

struct Objective {
    ValueGrad function;
    void* context;
};

struct Limits {
    double gtol;           // of the infinity norm of the gradient
    std::ptrdiff_t maxiter;
    std::ptrdiff_t pairs;  // that limited memory keeps
};

struct Answer {
    double value;
    double gradient_norm;  // infinity norm at the point returned, computed again by the harness
    std::ptrdiff_t nfev;   // calls of the objective
    std::ptrdiff_t iterations;
};

// Made once a thread, so that what a library can keep from solve to solve, it keeps.
class Solver {
public:
    virtual ~Solver() = default;
    // From the point in `x` to the one that is left there.
    virtual void solve(const Objective& objective, double* x, Answer& answer) = 0;
};

struct Entry {
    const char* method;
    std::unique_ptr<Solver> (*make)(std::ptrdiff_t n, const Limits& limits);
};

// What each library's source defines; the last row has no name.
extern const Entry ENTRIES[];

template <class Kind>
std::unique_ptr<Solver> make(std::ptrdiff_t n, const Limits& limits) {
    return std::make_unique<Kind>(n, limits);
}

inline double norm_max(const double* a, std::ptrdiff_t n) {
    double largest = 0;
    for (std::ptrdiff_t i = 0; i < n; i++)
        if (!(std::fabs(a[i]) <= largest)) largest = std::fabs(a[i]);
    return largest;
}

// For libraries that ask for value and gradient one after the other: both are computed at the first
// question, so that neither costs an evaluation of its own.
class Remembered {
public:
    explicit Remembered(std::ptrdiff_t n) : n(n), x(n), gradient(n) {}

    void start(const Objective& of) {
        objective = of;
        nfev = 0;
    }

    void evaluate(const double* at) {
        if (nfev && std::memcmp(at, x.data(), n * sizeof(double)) == 0) return;
        std::memcpy(x.data(), at, n * sizeof(double));
        objective.function(x.data(), &value, gradient.data(), n, objective.context);
        nfev++;
    }

    const std::ptrdiff_t n;
    Objective objective{};
    std::ptrdiff_t nfev = 0;
    double value = 0;
    std::vector<double> x, gradient;
};

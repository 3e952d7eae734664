// The yardstick: BFGS and L-BFGS with the line search of Hager & Zhang as one plain loop.
//
// The algorithms of fastopt/solvers/, which say where the formulas come from, with the same
// constants and the same order of operations. What is not here is what makes a solver safe: recovery
// after a failed search, the best point seen, other limits than maxiter, diagnosis, pausing.
#include "harness.h"

#include <algorithm>
#include <limits>

namespace {

const double C1 = 1e-4, C2 = 0.9;
const double RESOLUTION = 1e-10, TRUSTED_DIFFERENCE = 1e-12;
const double MARGIN = 1e-4, SHRINKAGE = 0.66, LEAST_GROWTH = 1.1, MOST_GROWTH = 10;
const int MOST_TRIALS = 20;
const double INF = std::numeric_limits<double>::infinity();

using Size = std::ptrdiff_t;
using Output = double* __restrict;

// Keeps a loop scalar. A vector read over numbers that were just stored one by one waits for them,
// so in short loops vectors cost more than they save.
inline void one_by_one() { asm volatile(""); }

template <class Body>
inline void each(Size n, Body body) {
    Size i = 0;
    for (; i + 4 <= n; i += 4) {
        body(i);
        body(i + 1);
        body(i + 2);
        body(i + 3);
    }
    for (; i < n; i++) {
        one_by_one();
        body(i);
    }
}

inline double dot(const double* a, const double* b, Size n) {
    double sum = 0, rest = 0;
    Size i = 0;
    if (n >= 8) {
        double s[8] = {};
        for (; i + 8 <= n; i += 8)
            for (int k = 0; k < 8; k++) s[k] += a[i + k] * b[i + k];
        sum = ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
    }
    for (; i < n; i++) {
        one_by_one();
        rest += a[i] * b[i];
    }
    return sum + rest;
}

struct Products {
    double sy, yy;
};

// s = a - b, y = c - d, and their products.
inline Products subtract_both(const double* a, const double* b, Output s, const double* c,
                              const double* d, Output y, Size n) {
    double sy[4] = {}, yy[4] = {};
    Size i = 0;
    for (; i + 4 <= n; i += 4)
        for (int k = 0; k < 4; k++) {
            s[i + k] = a[i + k] - b[i + k];
            y[i + k] = c[i + k] - d[i + k];
            sy[k] += s[i + k] * y[i + k];
            yy[k] += y[i + k] * y[i + k];
        }
    for (; i < n; i++) {
        one_by_one();
        s[i] = a[i] - b[i];
        y[i] = c[i] - d[i];
        sy[0] += s[i] * y[i];
        yy[0] += y[i] * y[i];
    }
    return {(sy[0] + sy[2]) + (sy[1] + sy[3]), (yy[0] + yy[2]) + (yy[1] + yy[3])};
}

inline void scale(double alpha, Output out, Size n) {
    each(n, [=](Size i) { out[i] *= alpha; });
}

// out = alpha a
inline void copy(double alpha, const double* a, Output out, Size n) {
    each(n, [=](Size i) { out[i] = alpha * a[i]; });
}

// out += alpha a
inline void add(double alpha, const double* a, Output out, Size n) {
    each(n, [=](Size i) { out[i] += alpha * a[i]; });
}

// out = a + alpha b
inline void step_from(const double* a, double alpha, const double* b, Output out, Size n) {
    each(n, [=](Size i) { out[i] = a[i] + alpha * b[i]; });
}

// out = alpha a + beta b
inline void combine(double alpha, const double* a, double beta, const double* b, Output out,
                    Size n) {
    each(n, [=](Size i) { out[i] = alpha * a[i] + beta * b[i]; });
}

// out += alpha a + beta b
inline void add_two(double alpha, const double* a, double beta, const double* b, Output out,
                    Size n) {
    each(n, [=](Size i) { out[i] += alpha * a[i] + beta * b[i]; });
}

// The inverse Hessian as a packed lower triangle; an update is made within the next product.
class Dense {
public:
    Dense(Size n, const Limits&)
        : s(n), y(n), n(n), matrix(n * (n + 1) / 2), product(n), last_s(n), w(n) {}

    void forget() { pairs = 0; }

    // `direction` is -H g of the gradient before, and becomes that of the one given.
    void learn(Products products, const double* gradient, double* direction) {
        const double curvature = products.sy;
        const double change = std::sqrt(products.yy);
        const double inverse = 1 / curvature;
        double growth = 1;
        pairs++;
        if (pairs == 1) {
            begin(curvature / change / change, gradient, direction);
        } else {
            if (pairs <= n) growth = scale_up(curvature, gradient, direction);
            multiply(gradient);
            const Output p = product.data(), d = direction;
            each(n, [=](Size i) {
                p[i] *= growth;
                d[i] = growth * d[i] + p[i];
            });
        }
        const double yu = dot(y.data(), direction, n);  // `direction` is u = H y now
        combine(0.5 * (1 + yu * inverse) * inverse, s.data(), -inverse, direction, w.data(), n);
        const double along_s = dot(s.data(), gradient, n);
        const double along_w = dot(w.data(), gradient, n);
        const Output d = direction;
        const double *p = product.data(), *s = this->s.data(), *w = this->w.data();
        each(n, [=](Size i) { d[i] = -(p[i] + s[i] * along_w + w[i] * along_s); });
        copy(1, s, last_s.data(), n);
        last_growth = growth;
        pending = true;
    }

    std::vector<double> s, y;

private:
    void begin(double diagonal, const double* gradient, double* direction) {
        std::fill(matrix.begin(), matrix.end(), 0.0);
        double* row = matrix.data();
        for (Size i = 0; i < n; row += ++i) row[i] = diagonal;
        copy(diagonal, gradient, product.data(), n);
        copy(diagonal, y.data(), direction, n);
        pending = false;
    }

    double scale_up(double curvature, const double* gradient, const double* direction) const {
        const double step = dot(s.data(), direction, n) / dot(direction, direction, n);
        const double ratio = -step * (dot(s.data(), gradient, n) - curvature) / curvature;
        return 1 < ratio && ratio < INF ? ratio : 1;
    }

    // product = H x
    void multiply(const double* x) {
        double* a = matrix.data();
        double* out = product.data();
        Size i = 0;
        for (; i + 2 <= n; i += 2) {
            double* b = a + i + 1;
            if (pending) {
                update(i, i + 1, a);
                update(i + 1, i + 2, b);
            }
            add_two(x[i], a, x[i + 1], b, out, i);
            out[i] = dot(a, x, i + 1) + x[i + 1] * b[i];
            out[i + 1] = dot(b, x, i + 2);
            a = b + i + 2;
        }
        if (i < n) {
            if (pending) update(i, i + 1, a);
            add(x[i], a, out, i);
            out[i] = dot(a, x, i + 1);
        }
        pending = false;
    }

    void update(Size i, Size length, Output row) const {
        const double *s = last_s.data(), *w = this->w.data();
        const double s_i = s[i], w_i = w[i], growth = last_growth;
        each(length, [=](Size j) { row[j] = growth * row[j] + (s_i * w[j] + w_i * s[j]); });
    }

    Size n, pairs = 0;
    std::vector<double> matrix, product, last_s, w;
    double last_growth = 1;
    bool pending = false;
};

// The last pairs, in a ring, and the two-loop recursion.
class Limited {
public:
    Limited(Size n, const Limits& limits)
        : s(n), y(n), n(n), m(limits.pairs), steps(m * n), changes(m * n), inverses(m), shares(m) {}

    void forget() { pairs = next = 0; }

    void learn(Products products, const double* gradient, double* direction) {
        const double curvature = products.sy;
        const double change = std::sqrt(products.yy);
        copy(1, s.data(), &steps[next * n], n);
        copy(1, y.data(), &changes[next * n], n);
        inverses[next] = 1 / curvature;
        next = next + 1 < m ? next + 1 : 0;
        pairs = std::min(pairs + 1, m);
        recur(curvature / change / change, gradient, direction);
    }

    std::vector<double> s, y;

private:
    void recur(double diagonal, const double* gradient, double* direction) {
        Size row = next;
        copy(-1, gradient, direction, n);
        for (Size k = 0; k < pairs; k++) {
            row = row > 0 ? row - 1 : m - 1;
            shares[row] = dot(&steps[row * n], direction, n) * inverses[row];
            add(-shares[row], &changes[row * n], direction, n);
        }
        scale(diagonal, direction, n);
        for (Size k = 0; k < pairs; k++) {
            const double beta = dot(&changes[row * n], direction, n) * inverses[row];
            add(shares[row] - beta, &steps[row * n], direction, n);
            row = row + 1 < m ? row + 1 : 0;
        }
    }

    Size n, m, pairs = 0, next = 0;
    std::vector<double> steps, changes, inverses, shares;
};

struct Sample {
    double step, value, slope;
};

template <class Memory>
class Loop final : public Solver {
public:
    Loop(Size n, const Limits& limits)
        : n(n), limits(limits), memory(n, limits), gradient(n), trial_x(n), trial_gradient(n),
          direction(n) {}

    void solve(const Objective& of, double* at, Answer& answer) override {
        objective = of;
        x = at;
        nfev = 1;
        objective.function(x, &value, gradient.data(), n, objective.context);
        memory.forget();
        copy(-1, gradient.data(), direction.data(), n);
        Size nit = 0;
        double step = 1 / std::sqrt(dot(gradient.data(), gradient.data(), n));
        while (norm_max(gradient.data(), n) > limits.gtol && nit < limits.maxiter) {
            start = {0, value, dot(gradient.data(), direction.data(), n)};
            if (!search(step)) break;
            const Products products =
                subtract_both(trial_x.data(), x, memory.s.data(), trial_gradient.data(),
                              gradient.data(), memory.y.data(), n);
            copy(1, trial_x.data(), x, n);
            value = trial.value;
            gradient.swap(trial_gradient);
            memory.learn(products, gradient.data(), direction.data());
            step = 1;
            nit++;
        }
        answer.nfev = nfev;
        answer.iterations = nit;
    }

private:
    void probe(double step) {
        step_from(x, step, direction.data(), trial_x.data(), n);
        objective.function(trial_x.data(), &trial.value, trial_gradient.data(), n,
                           objective.context);
        nfev++;
        trial.step = step;
        trial.slope = dot(trial_gradient.data(), direction.data(), n);
    }

    bool finite() const { return std::isfinite(trial.value) && std::isfinite(trial.slope); }

    bool satisfies_wolfe() const {
        if (!(trial.slope >= C2 * start.slope)) return false;
        if (trial.value <= start.value + C1 * trial.step * start.slope) return true;
        const double tolerance = RESOLUTION * std::fabs(start.value);
        return -trial.step * start.slope <= tolerance &&
               trial.slope <= (2 * C1 - 1) * start.slope &&
               trial.value <= start.value + tolerance;
    }

    bool is_behind() const {
        return trial.slope >= 0 || trial.value > start.value + RESOLUTION * std::fabs(start.value);
    }

    bool search(double step) {
        Sample low = start, high = start;
        double ceiling = INF;
        int trials = 0;
        for (;; trials++) {
            if (trials == MOST_TRIALS) return false;
            probe(step);
            if (!finite()) {
                step = low.step + (ceiling == INF ? 0.5 : 0.1) * (step - low.step);
                ceiling = trial.step;
                continue;
            }
            if (satisfies_wolfe()) return true;
            if (is_behind()) break;
            step = std::min(extrapolate(low), ceiling);
            if (step == ceiling) step = trial.step + 0.5 * (ceiling - trial.step);
            low = trial;
        }
        high = trial;
        for (bool bisect = false; trials < MOST_TRIALS - 1; trials++) {
            const double width = high.step - low.step;
            probe(low.step + (bisect ? 0.5 * width : share(low, high) * width));
            if (finite() && satisfies_wolfe()) return true;
            (finite() && !is_behind() ? low : high) = trial;
            bisect = high.step - low.step > SHRINKAGE * width;
        }
        return false;
    }

    double extrapolate(const Sample& previous) const {
        const double width = trial.step - previous.step;
        const double bend = trial.slope - previous.slope;
        const double step = bend > 0 ? trial.step - trial.slope * width / bend : INF;
        return std::min(std::max(step, trial.step + LEAST_GROWTH * width),
                        trial.step + MOST_GROWTH * width);
    }

    // Of the width, from `low`: the minimiser of a cubic, of a parabola, or the zero of a secant.
    static double share(const Sample& low, const Sample& high) {
        const double width = high.step - low.step, rise = high.value - low.value;
        double at = 0.5;
        if (std::fabs(rise) >
            TRUSTED_DIFFERENCE * std::max(std::fabs(high.value), std::fabs(low.value))) {
            at = cubic(low, high, width);
            if (rise > 0) {
                const double parabola = -0.5 * low.slope * width / (rise - low.slope * width);
                if (!(0 < at && at <= parabola))
                    at = 0.5 * (std::min(std::max(at, 0.0), 1.0) + parabola);
            }
        } else if (high.slope > 0) {
            at = -low.slope / (high.slope - low.slope);
        }
        if (!std::isfinite(at)) at = 0.5;
        return std::min(std::max(at, MARGIN), 1 - MARGIN);
    }

    static double cubic(const Sample& low, const Sample& high, double width) {
        const double theta = low.slope + high.slope - 3 * (high.value - low.value) / width;
        const double scale =
            std::max(std::fabs(theta), std::max(std::fabs(low.slope), std::fabs(high.slope)));
        const double squared = (theta / scale) * (theta / scale) -
                               (low.slope / scale) * (high.slope / scale);
        const double root = scale * std::sqrt(std::max(0.0, squared));
        return (root - low.slope + theta) / (2 * root - low.slope + high.slope);
    }

    Size n;
    Limits limits;
    Memory memory;
    Objective objective{};
    Size nfev = 0;
    double value = 0;
    double* x = nullptr;
    std::vector<double> gradient, trial_x, trial_gradient, direction;
    Sample start{}, trial{};
};

}  // namespace

const Entry ENTRIES[] = {
    {"bfgs", make<Loop<Dense>>},
    {"l-bfgs", make<Loop<Limited>>},
    {nullptr, nullptr},
};

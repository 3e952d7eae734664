// Runs a library's solver on many problems, and times that from inside: no Python in the figure.
#include "harness.h"

#include <chrono>

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point started) {
    return std::chrono::duration<double>(Clock::now() - started).count();
}

const Entry* find(const char* method) {
    const Entry* entry = ENTRIES;
    while (entry->method && std::strcmp(entry->method, method) != 0) entry++;
    return entry->method ? entry : nullptr;
}

// An objective that is timed, whoever calls it; laid out as library.py has it.
struct Timed {
    ValueGrad function;
    void* context;
    double seconds;
    std::ptrdiff_t calls;
};

}  // namespace

extern "C" {

// An objective of fastopt's signature, whose context is a `Timed`.
int harness_timed(const double* x, double* value, double* grad, std::ptrdiff_t n, void* context) {
    Timed& timed = *static_cast<Timed*>(context);
    const Clock::time_point started = Clock::now();
    const int reply = timed.function(x, value, grad, n, timed.context);
    timed.seconds += seconds_since(started);
    timed.calls++;
    return reply;
}

// The sum of `numbers`, `repeats` times: how fast memory is read.
double harness_read(const double* numbers, std::ptrdiff_t count, std::ptrdiff_t repeats) {
    double sums[16] = {};
    for (std::ptrdiff_t k = 0; k < repeats; k++) {
        for (std::ptrdiff_t i = 0; i + 16 <= count; i += 16)
            for (int j = 0; j < 16; j++) sums[j] += numbers[i + j];
        asm volatile("" ::: "memory");      // or it is read once, and multiplied
    }
    double total = 0;
    for (double sum : sums) total += sum;
    return total;
}

const char* harness_method(std::ptrdiff_t index) { return ENTRIES[index].method; }

// `x` is (problems, n): starts, then answers. Returns the seconds that the solves took; negative if
// the library does not have the method.
double harness_solve(const char* method, ValueGrad function, void* const* contexts,
                     std::ptrdiff_t problems, std::ptrdiff_t n, const Limits* limits, double* x,
                     Answer* answers, int threads) {
    const Entry* entry = find(method);
    if (!entry) return -1;
    const Clock::time_point started = Clock::now();
#pragma omp parallel num_threads(threads)
    {
        const std::unique_ptr<Solver> solver = entry->make(n, *limits);
#pragma omp for schedule(dynamic, 16)
        for (std::ptrdiff_t i = 0; i < problems; i++) {
            answers[i] = Answer{};
            solver->solve(Objective{function, contexts[i]}, x + i * n, answers[i]);
        }
    }
    const double seconds = seconds_since(started);
    std::vector<double> gradient(n);
    for (std::ptrdiff_t i = 0; i < problems; i++) {
        function(x + i * n, &answers[i].value, gradient.data(), n, contexts[i]);
        answers[i].gradient_norm = norm_max(gradient.data(), n);
    }
    return seconds;
}

// The objective alone: `repeats` evaluations of each problem at its own point.
double harness_evaluate(ValueGrad function, void* const* contexts, std::ptrdiff_t problems,
                        std::ptrdiff_t n, std::ptrdiff_t repeats, const double* x, int threads) {
    const Clock::time_point started = Clock::now();
#pragma omp parallel num_threads(threads)
    {
        std::vector<double> gradient(n);
        double value;
#pragma omp for schedule(dynamic, 16)
        for (std::ptrdiff_t i = 0; i < problems; i++)
            for (std::ptrdiff_t k = 0; k < repeats; k++)
                function(x + i * n, &value, gradient.data(), n, contexts[i]);
    }
    return seconds_since(started);
}

}  // extern "C"

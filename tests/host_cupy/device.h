// What a kernel in CUDA C++ needs to be compiled for the host, where one thread does the work of all.
// With SEVERAL, so many threads as `begin` is told take turns between barriers, the last one first.

#ifdef SEVERAL
#include <pthread.h>
#endif
#define __global__
#define __device__
#define __launch_bounds__(threads)

namespace device {

struct Dim { int x; };

#ifdef SEVERAL
static thread_local Dim threadIdx, blockIdx, blockDim, gridDim;
static thread_local int place, count;
static int turn = 0;  // the place of the thread that runs
static pthread_mutex_t turns = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t passed = PTHREAD_COND_INITIALIZER;

void wait() {
    pthread_mutex_lock(&turns);
    while (turn != place) pthread_cond_wait(&passed, &turns);
    pthread_mutex_unlock(&turns);
}

void pass() {
    pthread_mutex_lock(&turns);
    turn = (turn + 1) % count;
    pthread_cond_broadcast(&passed);
    pthread_mutex_unlock(&turns);
}

inline void __syncthreads() { pass(); wait(); }

extern "C" void begin(int number, int threads, int blocks) {
    count = threads * blocks;
    place = count - 1 - number;
    threadIdx.x = number % threads;
    blockIdx.x = number / threads;
    blockDim.x = threads;
    gridDim.x = blocks;
    wait();
}

extern "C" void end() { pass(); }
#else
static Dim threadIdx{0}, blockIdx{0}, blockDim{1}, gridDim{1};
inline void __syncthreads() {}
#endif

inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __dmul_rn(double a, double b) { return a * b; }

// By the compiler's own names, since the headers that declare them take long to read
#define MATHEMATICS(name) \
    inline float name(float a) { return __builtin_##name##f(a); } \
    inline double name(double a) { return __builtin_##name(a); }
MATHEMATICS(exp)
MATHEMATICS(log)
MATHEMATICS(log1p)
MATHEMATICS(expm1)
MATHEMATICS(tanh)
MATHEMATICS(sqrt)
MATHEMATICS(fabs)
inline float fabsf(float a) { return __builtin_fabsf(a); }

/* What the generated steps are made of: vectors, matrix products, and functions the compiler can vectorise. */
#include <math.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>

#define FO_INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define FO_UNROLL _Pragma("clang loop unroll(full)")
#define FO_VECTORISE _Pragma("clang loop vectorize(assume_safety)")
#else
#define FO_UNROLL _Pragma("GCC unroll 16")
#define FO_VECTORISE _Pragma("GCC ivdep")
#endif

/* Memory that held one temporary holds another from here on: no load or store may be moved across. */
#define FO_REUSE __asm__ volatile("" ::: "memory");

#if defined(__AVX512F__)
#define FO_BYTES 64
#elif defined(__AVX__)
#define FO_BYTES 32
#else
#define FO_BYTES 16
#endif
/* Lanes of two vectors, picked by f(lane, half): those from FO_W on are of the second. */
#if defined(__clang__) || __GNUC__ >= 12
#define FO_SHUFFLE(a, b, f, half) __builtin_shufflevector(a, b, FO_EACH_LANE(f, half))
#else
#define FO_SHUFFLE(a, b, f, half) __builtin_shuffle(a, b, (FO_I){FO_EACH_LANE(f, half)})
#endif
#define FO_DOT_ROWS (FO_W < 4 ? 2 : 4)
#define FO_DOT_COLUMNS (FO_W / FO_DOT_ROWS)
#define FO_ROWS 6
#if defined(__AVX512F__)
#define FO_VECTORS 4
#else
#define FO_VECTORS 2
#endif

typedef float fo_f32 __attribute__((vector_size(FO_BYTES)));
typedef float fo_f32_unaligned __attribute__((vector_size(FO_BYTES), aligned(4), may_alias));
typedef int32_t fo_i32 __attribute__((vector_size(FO_BYTES)));
typedef int64_t fo_i64 __attribute__((vector_size(FO_BYTES)));
typedef double fo_f64 __attribute__((vector_size(FO_BYTES)));
typedef double fo_f64_unaligned __attribute__((vector_size(FO_BYTES), aligned(8), may_alias));

#define FO_T float
#define FO_V fo_f32
#define FO_U fo_f32_unaligned
#define FO_I fo_i32
#define FO_W (FO_BYTES / 4)
#define FO(name) fo_##name##_f32
#include "flatout_matmul.h"
#undef FO_T
#undef FO_V
#undef FO_U
#undef FO_I
#undef FO_W
#undef FO

#define FO_T double
#define FO_V fo_f64
#define FO_U fo_f64_unaligned
#define FO_I fo_i64
#define FO_W (FO_BYTES / 8)
#define FO(name) fo_##name##_f64
#include "flatout_matmul.h"
#undef FO_T
#undef FO_V
#undef FO_U
#undef FO_I
#undef FO_W
#undef FO

/* Numbers below the smallest normal one become 0 within a call: arithmetic on them takes a hundred times as
   long, and a training that has converged is full of them. Gives what to go back to. */
#if defined(__SSE__)
FO_INLINE uint64_t fo_flush_subnormals(void)
{
    uint32_t mode = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(mode | 0x8040);
    return mode;
}
FO_INLINE void fo_go_back(uint64_t mode) { __builtin_ia32_ldmxcsr((uint32_t)mode); }
#elif defined(__aarch64__)
FO_INLINE uint64_t fo_flush_subnormals(void)
{
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    __asm__ volatile("msr fpcr, %0" : : "r"(mode | 1u << 24));
    return mode;
}
FO_INLINE void fo_go_back(uint64_t mode) { __asm__ volatile("msr fpcr, %0" : : "r"(mode)); }
#else
FO_INLINE uint64_t fo_flush_subnormals(void) { return 0; }
FO_INLINE void fo_go_back(uint64_t mode) { (void)mode; }
#endif

/* --- several threads: each runs the whole step, and takes its part of what they share. */

/* The part of n iterations this thread takes, in multiples of a vector where there are enough. */
#define FO_GRAIN(n) ((n) >= 64 * threads ? 16 : 1)
#define FO_BEGIN(n) ((n) / FO_GRAIN(n) * thread / threads * FO_GRAIN(n))
#define FO_END(n) (thread + 1 == threads ? (n) : (n) / FO_GRAIN(n) * (thread + 1) / threads * FO_GRAIN(n))

/* Wait until all threads are here. team[0] counts who has arrived, team[8] the rounds. */
FO_INLINE void fo_wait(int64_t *team, long threads)
{
    if (threads == 1)
        return;
    int64_t round = __atomic_load_n(&team[8], __ATOMIC_ACQUIRE);
    if (__atomic_add_fetch(&team[0], 1, __ATOMIC_ACQ_REL) == threads) {
        __atomic_store_n(&team[0], 0, __ATOMIC_RELAXED);
        __atomic_store_n(&team[8], round + 1, __ATOMIC_RELEASE);
        return;
    }
    for (int turn = 0; __atomic_load_n(&team[8], __ATOMIC_ACQUIRE) == round; turn++)
        if (turn > 4000) /* another program has our core: let it go on */
            sched_yield();
}

#include "flatout_functions.h"
#include "flatout_random.h"

/* Large products go to the BLAS that is already loaded: column-major, as Fortran has it. */
typedef void (*fo_sgemm)(const char *, const char *, const int *, const int *, const int *, const float *,
                         const float *, const int *, const float *, const int *, const float *, float *,
                         const int *);
typedef void (*fo_dgemm)(const char *, const char *, const int *, const int *, const int *, const double *,
                         const double *, const int *, const double *, const int *, const double *, double *,
                         const int *);

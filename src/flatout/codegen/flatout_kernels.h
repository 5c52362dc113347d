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

#if defined(__AVX512F__)
#define FO_BYTES 64
#elif defined(__AVX__)
#define FO_BYTES 32
#else
#define FO_BYTES 16
#endif
#define FO_SHUFFLE(a, b, lanes) __builtin_shuffle(a, b, lanes)
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

/* --- single precision: polynomials after Cephes (S. L. Moshier), without branches so that loops over them
   become vector code. NaN and infinity come out as the C library gives them. */

/* The compiler may reorder sums elsewhere, but not across this. */
#if defined(__clang__)
#define FO_AS_WRITTEN(x) __arithmetic_fence(x)
#elif __GNUC__ >= 12
#define FO_AS_WRITTEN(x) __builtin_assoc_barrier(x)
#else
#define FO_AS_WRITTEN(x) (x)
#endif

FO_INLINE float fo_bits_to_float(int32_t i) { float f; memcpy(&f, &i, 4); return f; }
FO_INLINE int32_t fo_float_to_bits(float f) { int32_t i; memcpy(&i, &f, 4); return i; }

FO_INLINE float fo_exp_f32(float x)
{
    float c = x < -104.0f ? -104.0f : x;
    c = c > 89.0f ? 89.0f : c;
    float n = __builtin_rintf(c * 1.44269504088896341f);
    float r = FO_AS_WRITTEN(c - n * 0.693359375f);
    r = r - n * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    int32_t i = (int32_t)n, half = i >> 1; /* in two factors: 2^n itself may not be a number */
    p = fo_bits_to_float(fo_float_to_bits(p) + half * (1 << 23)); /* no product: it could be reordered */
    p = p * fo_bits_to_float((i - half + 127) << 23);
    return x != x ? x : p;
}

FO_INLINE float fo_log_f32(float x)
{
    float scaled = x < 1.17549435e-38f ? x * 8388608.0f : x; /* subnormal numbers */
    int32_t bits = fo_float_to_bits(scaled);
    float e = (float)((bits >> 23) - 126) - (x < 1.17549435e-38f ? 23.0f : 0.0f);
    float m = fo_bits_to_float((bits & 0x007fffff) | 0x3f000000);
    float low = m < 0.707106781186547524f ? 1.0f : 0.0f;
    e = e - low;
    m = m + m * low - 1.0f;
    float z = m * m;
    float p = 7.0376836292e-2f;
    p = p * m - 1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m - 1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m - 1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m - 2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    p = p * m * z + e * -2.12194440e-4f - 0.5f * z;
    float y = m + p + e * 0.693359375f;
    y = x == 0.0f ? -INFINITY : y;
    y = x == INFINITY ? x : y;
    return (x < 0.0f) | (x != x) ? NAN : y;
}

/* The rational approximation of degree 13 over 6 that Eigen and XLA use: within a few last places. */
FO_INLINE float fo_tanh_f32(float x)
{
    float c = x < -7.90531110763549805f ? -7.90531110763549805f : x;
    c = c > 7.90531110763549805f ? 7.90531110763549805f : c;
    float z = c * c;
    float p = -2.76076847742355e-16f;
    p = p * z + 2.00018790482477e-13f;
    p = p * z - 8.60467152213735e-11f;
    p = p * z + 5.12229709037114e-08f;
    p = p * z + 1.48572235717979e-05f;
    p = p * z + 6.37261928875436e-04f;
    p = p * z + 4.89352455891786e-03f;
    float q = 1.19825839466702e-06f;
    q = q * z + 1.18534705686654e-04f;
    q = q * z + 2.26843463243900e-03f;
    q = q * z + 4.89352518554385e-03f;
    float y = c * p / q;
    return __builtin_fabsf(x) < 0.0004f ? x : y;
}

FO_INLINE float fo_sigmoid_f32(float x) { return 1.0f / (1.0f + fo_exp_f32(-x)); }

/* Double precision and what is rarely used: the C library. */
#define fo_exp_f64 exp
#define fo_log_f64 log
#define fo_tanh_f64 tanh
#define fo_erf_f32 erff
#define fo_erf_f64 erf
#define fo_expm1_f32 expm1f
#define fo_expm1_f64 expm1
#define fo_log1p_f32 log1pf
#define fo_log1p_f64 log1p
#define fo_pow_f32 powf
#define fo_pow_f64 pow
#define fo_sin_f32 sinf
#define fo_sin_f64 sin
#define fo_cos_f32 cosf
#define fo_cos_f64 cos
#define fo_atan2_f32 atan2f
#define fo_atan2_f64 atan2
#define fo_floor_f32 floorf
#define fo_floor_f64 floor
#define fo_ceil_f32 ceilf
#define fo_ceil_f64 ceil
#define fo_atan_f32 atanf
#define fo_atan_f64 atan
#define fo_asin_f32 asinf
#define fo_asin_f64 asin
#define fo_acos_f32 acosf
#define fo_acos_f64 acos
#define fo_tan_f32 tanf
#define fo_tan_f64 tan
#define fo_asinh_f32 asinhf
#define fo_asinh_f64 asinh
#define fo_acosh_f32 acoshf
#define fo_acosh_f64 acosh
#define fo_atanh_f32 atanhf
#define fo_atanh_f64 atanh
#define fo_erfc_f32 erfcf
#define fo_erfc_f64 erfc
#define fo_exp2_f32 exp2f
#define fo_exp2_f64 exp2
#define fo_log2_f32 log2f
#define fo_log2_f64 log2
#define fo_log10_f32 log10f
#define fo_log10_f64 log10
#define fo_trunc_f32 truncf
#define fo_trunc_f64 trunc
#define fo_fmod_f32 fmodf
#define fo_fmod_f64 fmod
#define fo_rint_f32 rintf
#define fo_rint_f64 rint
#define fo_sinh_f32 sinhf
#define fo_sinh_f64 sinh
#define fo_cosh_f32 coshf
#define fo_cosh_f64 cosh
#define fo_lgamma_f32 lgammaf
#define fo_lgamma_f64 lgamma
#define fo_copysign_f32 copysignf
#define fo_copysign_f64 copysign
#define fo_hypot_f32 hypotf
#define fo_hypot_f64 hypot
FO_INLINE double fo_sigmoid_f64(double x) { return 1.0 / (1.0 + exp(-x)); }

/* --- random numbers: Philox 4x32-10 (Salmon et al., SC 2011), as step/random_stream.py has it. What is drawn
   depends on seed, step, draw and element only. Sixteen blocks fill a group, so that the loops over `lane`
   become vector code. */
#define FO_LANES 16

typedef struct { uint32_t word[4][FO_LANES]; } fo_group; /* word[w][lane]: word w of a block */

FO_INLINE void fo_philox(fo_group *out, uint32_t block, uint32_t draw, uint64_t step, uint64_t seed)
{
    for (int lane = 0; lane < FO_LANES; lane++) {
        uint32_t a = block + lane, b = draw, c = (uint32_t)step, d = (uint32_t)(step >> 32);
        uint32_t first = (uint32_t)seed, second = (uint32_t)(seed >> 32);
        FO_UNROLL
        for (int turn = 0; turn < 10; turn++) {
            uint64_t left = (uint64_t)a * 0xD2511F53u, right = (uint64_t)c * 0xCD9E8D57u;
            a = (uint32_t)(right >> 32) ^ b ^ first;
            b = (uint32_t)right;
            c = (uint32_t)(left >> 32) ^ d ^ second;
            d = (uint32_t)left;
            first += 0x9E3779B9u;
            second += 0xBB67AE85u;
        }
        out->word[0][lane] = a, out->word[1][lane] = b, out->word[2][lane] = c, out->word[3][lane] = d;
    }
}

/* Uniform numbers in [0, 1); `out` has room for whole groups. */
static void fo_uniform_f32(float *restrict out, long groups, uint32_t draw, uint64_t step, uint64_t seed)
{
    for (long g = 0; g < groups; g++) {
        fo_group bits;
        fo_philox(&bits, (uint32_t)g * FO_LANES, draw, step, seed);
        for (int w = 0; w < 4; w++)
            for (int lane = 0; lane < FO_LANES; lane++)
                out[g * 4 * FO_LANES + w * FO_LANES + lane] = (float)(int32_t)(bits.word[w][lane] >> 8) * 0x1p-24f;
    }
}

FO_INLINE int64_t fo_53_bits(const fo_group *bits, int w, int lane)
{
    return ((int64_t)bits->word[w][lane] << 21) | (bits->word[w + 1][lane] >> 11);
}

static void fo_uniform_f64(double *restrict out, long groups, uint32_t draw, uint64_t step, uint64_t seed)
{
    for (long g = 0; g < groups; g++) {
        fo_group bits;
        fo_philox(&bits, (uint32_t)g * FO_LANES, draw, step, seed);
        for (int half = 0; half < 2; half++)
            for (int lane = 0; lane < FO_LANES; lane++)
                out[g * 2 * FO_LANES + half * FO_LANES + lane] =
                    (double)fo_53_bits(&bits, 2 * half, lane) * 0x1p-53;
    }
}

/* Normal numbers after Box and Muller: a radius and an angle give two. */
static void fo_normal_f32(float *restrict out, long groups, uint32_t draw, uint64_t step, uint64_t seed)
{
    for (long g = 0; g < groups; g++) {
        fo_group bits;
        fo_philox(&bits, (uint32_t)g * FO_LANES, draw, step, seed);
        for (int w = 0; w < 4; w += 2) {
            float *pair = out + g * 4 * FO_LANES + w * FO_LANES;
            for (int lane = 0; lane < FO_LANES; lane++) {
                float share = ((float)bits.word[w][lane] + 0.5f) * 0x1p-32f;
                float radius = __builtin_sqrtf(-2.0f * fo_log_f32(share));
                /* The angle in half turns: a whole number of them, which is a sign, and -1/2 to 1/2. */
                uint32_t turn = bits.word[w + 1][lane], half = (turn + 0x40000000u) >> 31;
                float x = (float)(int32_t)(turn - (half << 31)) * (3.14159265358979f * 0x1p-31f), z = x * x;
                float s = x + x * z * (-1.6666666667e-1f + z * (8.3333333333e-3f + z * (-1.9841269841e-4f
                          + z * (2.7557319224e-6f - z * 2.5052108385e-8f))));
                float c = 1.0f + z * (-0.5f + z * (4.1666666667e-2f + z * (-1.3888888889e-3f
                          + z * (2.4801587302e-5f + z * (-2.7557319224e-7f + z * 2.0876756988e-9f)))));
                radius = half ? -radius : radius;
                pair[lane] = radius * c;
                pair[FO_LANES + lane] = radius * s;
            }
        }
    }
}

static void fo_normal_f64(double *restrict out, long groups, uint32_t draw, uint64_t step, uint64_t seed)
{
    for (long g = 0; g < groups; g++) {
        fo_group bits;
        fo_philox(&bits, (uint32_t)g * FO_LANES, draw, step, seed);
        for (int lane = 0; lane < FO_LANES; lane++) {
            double share = ((double)fo_53_bits(&bits, 0, lane) + 0.5) * 0x1p-53;
            double radius = __builtin_sqrt(-2.0 * log(share));
            double angle = (double)fo_53_bits(&bits, 2, lane) * (6.28318530717958647692 * 0x1p-53);
            out[g * 2 * FO_LANES + lane] = radius * cos(angle);
            out[g * 2 * FO_LANES + FO_LANES + lane] = radius * sin(angle);
        }
    }
}

/* Large products go to the BLAS that is already loaded: column-major, as Fortran has it. */
typedef void (*fo_sgemm)(const char *, const char *, const int *, const int *, const int *, const float *,
                         const float *, const int *, const float *, const int *, const float *, float *,
                         const int *);
typedef void (*fo_dgemm)(const char *, const char *, const int *, const int *, const int *, const double *,
                         const double *, const int *, const double *, const int *, const double *, double *,
                         const int *);

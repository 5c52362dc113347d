/* What the generated steps are made of: vectors, matrix products, and functions the compiler can vectorise. */
#include <math.h>
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

/* --- single precision: polynomials after Cephes (S. L. Moshier), without branches so that loops over them
   become vector code. NaN and infinity come out as the C library gives them. */

FO_INLINE float fo_bits_to_float(int32_t i) { float f; memcpy(&f, &i, 4); return f; }
FO_INLINE int32_t fo_float_to_bits(float f) { int32_t i; memcpy(&i, &f, 4); return i; }

FO_INLINE float fo_exp_f32(float x)
{
    float c = x < -104.0f ? -104.0f : x;
    c = c > 89.0f ? 89.0f : c;
    float n = __builtin_rintf(c * 1.44269504088896341f);
    float r = c - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    int32_t i = (int32_t)n, half = i >> 1; /* in two factors: 2^n itself may not be a number */
    p = p * fo_bits_to_float((half + 127) << 23) * fo_bits_to_float((i - half + 127) << 23);
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
    return x < 0.0f || x != x ? NAN : y;
}

FO_INLINE float fo_tanh_f32(float x)
{
    float a = __builtin_fabsf(x);
    float z = x * x;
    float p = -5.70498872745e-3f;
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    float small = p * z * x + x;
    float e = fo_exp_f32(2.0f * (a > 20.0f ? 20.0f : a));
    float large = 1.0f - 2.0f / (e + 1.0f);
    large = x < 0.0f ? -large : large;
    float y = a < 0.625f ? small : large;
    return x != x ? x : y;
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
FO_INLINE double fo_sigmoid_f64(double x) { return 1.0 / (1.0 + exp(-x)); }

/* Large products go to the BLAS that is already loaded: column-major, as Fortran has it. */
typedef void (*fo_sgemm)(const char *, const char *, const int *, const int *, const int *, const float *,
                         const float *, const int *, const float *, const int *, const float *, float *,
                         const int *);
typedef void (*fo_dgemm)(const char *, const char *, const int *, const int *, const int *, const double *,
                         const double *, const int *, const double *, const int *, const double *, double *,
                         const int *);

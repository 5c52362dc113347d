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
            double radius = __builtin_sqrt(-2.0 * fo_log_f64(share));
            double angle = (double)fo_53_bits(&bits, 2, lane) * (6.28318530717958647692 * 0x1p-53);
            out[g * 2 * FO_LANES + lane] = radius * cos(angle);
            out[g * 2 * FO_LANES + FO_LANES + lane] = radius * sin(angle);
        }
    }
}

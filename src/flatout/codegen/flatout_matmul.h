/* Matrix products of small, known sizes. Included once for each element type, with

     FO_T        the element type
     FO_V        a vector of FO_W elements, and FO_U the same without alignment
     FO_I        a vector of integers of the same size
     FO(name)    the name for this type

   Every function is inlined where sizes and strides are constants, so the loops over rows and vectors
   below become straight code with the accumulators in registers. */

static inline FO_V FO(load)(const FO_T *p) { return *(const FO_U *)p; }
static inline void FO(store)(FO_T *p, FO_V v) { *(FO_U *)p = v; }

#undef FO_EACH_LANE
#undef FO_LANE
#if FO_W == 16
#define FO_EACH_LANE(f, h) f(0, h), f(1, h), f(2, h), f(3, h), f(4, h), f(5, h), f(6, h), f(7, h), \
    f(8, h), f(9, h), f(10, h), f(11, h), f(12, h), f(13, h), f(14, h), f(15, h)
#elif FO_W == 8
#define FO_EACH_LANE(f, h) f(0, h), f(1, h), f(2, h), f(3, h), f(4, h), f(5, h), f(6, h), f(7, h)
#elif FO_W == 4
#define FO_EACH_LANE(f, h) f(0, h), f(1, h), f(2, h), f(3, h)
#else
#define FO_EACH_LANE(f, h) f(0, h), f(1, h)
#endif

#define FO_LANE(lane, unused) lane

typedef FO_T FO(piece) __attribute__((vector_size(FO_DOT_COLUMNS * sizeof(FO_T))));

/* rows x vectors of out at once: out[m, n] = bias[m, n] + sum over k of a[m, k] * b[k, n]; b and out are
   contiguous along n. The first `done` lanes of a row are left as they are. */
FO_INLINE void FO(block)(const int rows, const int vectors, const int done, long K, const FO_T *a, long a_m, long a_k,
                         const FO_T *b, long b_k, FO_T *out, long out_m,
                         const FO_T *bias, long bias_m, long bias_n)
{
    FO_V sum[2 * FO_ROWS][FO_VECTORS];
    FO_UNROLL
    for (int m = 0; m < rows; m++)
        FO_UNROLL
        for (int v = 0; v < vectors; v++)
            sum[m][v] = !bias  ? (FO_V){0}
                        : bias_n ? FO(load)(bias + m * bias_m + v * FO_W)
                                 : (FO_V){0} + bias[m * bias_m];
    for (long k = 0; k < K; k++) {
        FO_V column[FO_VECTORS];
        FO_UNROLL
        for (int v = 0; v < vectors; v++)
            column[v] = FO(load)(b + k * b_k + v * FO_W);
        FO_UNROLL
        for (int m = 0; m < rows; m++) {
            FO_T factor = a[m * a_m + k * a_k];
            FO_UNROLL
            for (int v = 0; v < vectors; v++)
                sum[m][v] += factor * column[v];
        }
    }
    FO_UNROLL
    for (int m = 0; m < rows; m++)
        FO_UNROLL
        for (int v = 0; v < vectors; v++) {
            FO_T *place = out + m * out_m + v * FO_W;
            if (done) {
                const FO_I keep = (FO_I){FO_EACH_LANE(FO_LANE, )} < done;
                sum[m][v] = (FO_V)((keep & (FO_I)FO(load)(place)) | (~keep & (FO_I)sum[m][v]));
            }
            FO(store)(place, sum[m][v]);
        }
}

/* All rows of `vectors` vectors. */
FO_INLINE void FO(columns)(const int vectors, const int done, long M, long K, const FO_T *a, long a_m, long a_k,
                           const FO_T *b, long b_k, FO_T *out, long out_m,
                           const FO_T *bias, long bias_m, long bias_n)
{
    long m = 0;
    if (vectors == 1) /* more rows at once, or each sum would wait for the one before it */
        for (; m + 2 * FO_ROWS <= M; m += 2 * FO_ROWS)
            FO(block)(2 * FO_ROWS, 1, done, K, a + m * a_m, a_m, a_k, b, b_k, out + m * out_m, out_m,
                      bias ? bias + m * bias_m : 0, bias_m, bias_n);
    for (; m + FO_ROWS <= M; m += FO_ROWS)
        FO(block)(FO_ROWS, vectors, done, K, a + m * a_m, a_m, a_k, b, b_k, out + m * out_m, out_m,
                  bias ? bias + m * bias_m : 0, bias_m, bias_n);
#define FO_REST(rows)                                                                              \
    case rows:                                                                                     \
        FO(block)(rows, vectors, done, K, a + m * a_m, a_m, a_k, b, b_k, out + m * out_m, out_m,         \
                  bias ? bias + m * bias_m : 0, bias_m, bias_n);                                   \
        break;
    switch (M - m) {
        FO_REST(1) FO_REST(2) FO_REST(3) FO_REST(4) FO_REST(5)
    }
#undef FO_REST
}

/* out[m, n] = bias[m, n] + sum over k of a[m, k] * b[k, n], with b and out contiguous along n. The last
   vector of a row that does not fill up is computed together with the end of the one before it, which is kept:
   out may be its own bias. */
FO_INLINE void FO(matmul)(long M, long N, long K, const FO_T *a, long a_m, long a_k,
                          const FO_T *b, long b_k, FO_T *out, long out_m,
                          const FO_T *bias, long bias_m, long bias_n)
{
    if (N < FO_W) {
        for (long m = 0; m < M; m++)
            for (long n = 0; n < N; n++) {
                FO_T sum = bias ? bias[m * bias_m + n * bias_n] : 0;
                for (long k = 0; k < K; k++)
                    sum += a[m * a_m + k * a_k] * b[k * b_k + n];
                out[m * out_m + n] = sum;
            }
        return;
    }
    long n = 0;
#define FO_PART(vectors, done)                                                                     \
    FO(columns)(vectors, done, M, K, a, a_m, a_k, b + n, b_k, out + n, out_m,                            \
                bias ? bias + n * bias_n : 0, bias_m, bias_n)
    for (; n + FO_VECTORS * FO_W <= N; n += FO_VECTORS * FO_W)
        FO_PART(FO_VECTORS, 0);
    long rest = (N - n) / FO_W;
    if (rest == 1) FO_PART(1, 0);
    if (rest == 2) FO_PART(2, 0);
    if (rest == 3) FO_PART(3, 0);
    n += rest * FO_W;
    if (n < N) {
        const int done = n - (N - FO_W);
        n = N - FO_W;
        FO_PART(1, done);
    }
#undef FO_PART
}

/* Lane i of the result is the total of sums[i]; a tree that adds pairs of vectors instead of lanes. */
FO_INLINE FO_V FO(totals)(FO_V *sums)
{
/* The remainder is for halves wider than a vector, which are compiled and not run. */
#define FO_KEEP(lane, half) (((lane) & (half) ? (lane) + FO_W : (lane)) % (2 * FO_W))
#define FO_SWAP(lane, half) ((((lane) ^ (half)) + ((lane) & (half) ? FO_W : 0)) % (2 * FO_W))
#define FO_LEVEL(half)                                                                             \
    if (half < FO_W) {                                                                             \
        FO_UNROLL                                                                                  \
        for (int i = 0; i + (half) < FO_W; i += 2 * (half))                                        \
            sums[i] = FO_SHUFFLE(sums[i], sums[i + half], FO_KEEP, half) +                         \
                      FO_SHUFFLE(sums[i], sums[i + half], FO_SWAP, half);                          \
    }
    FO_LEVEL(1)
    FO_LEVEL(2)
    FO_LEVEL(4)
    FO_LEVEL(8)
#undef FO_KEEP
#undef FO_SWAP
#undef FO_LEVEL
    return sums[0];
}

/* out[m, n] = bias[m, n] + sum over k of a[m, k] * b[k, n], with a and b contiguous along k. As many
   products as a vector has lanes are summed at once; at the edge some are computed twice. */
FO_INLINE void FO(matmul_dots)(long M, long N, long K, const FO_T *a, long a_m, const FO_T *b, long b_n,
                               FO_T *out, long out_m, long out_n,
                               const FO_T *bias, long bias_m, long bias_n)
{
    if (K < FO_W) {
        for (long m = 0; m < M; m++)
            for (long n = 0; n < N; n++) {
                FO_T sum = bias ? bias[m * bias_m + n * bias_n] : 0;
                for (long k = 0; k < K; k++)
                    sum += a[m * a_m + k] * b[n * b_n + k];
                out[m * out_m + n * out_n] = sum;
            }
        return;
    }
    const long whole = K / FO_W * FO_W;
    FO_I mask; /* of the last vector of a row: the lanes that were not counted yet */
    FO_UNROLL
    for (int lane = 0; lane < FO_W; lane++)
        mask[lane] = lane >= FO_W - (K - whole) ? -1 : 0;
    for (long m = 0; m < M; m += FO_DOT_ROWS)
        for (long n = 0; n < N; n += FO_DOT_COLUMNS) {
            FO_V sums[FO_W];
            const FO_T *row[FO_DOT_ROWS], *column[FO_DOT_COLUMNS];
            FO_UNROLL
            for (int r = 0; r < FO_DOT_ROWS; r++)
                row[r] = a + (m + r < M ? m + r : M - 1) * a_m;
            FO_UNROLL
            for (int c = 0; c < FO_DOT_COLUMNS; c++)
                column[c] = b + (n + c < N ? n + c : N - 1) * b_n;
            FO_UNROLL
            for (int i = 0; i < FO_W; i++)
                sums[i] = (FO_V){0};
            for (long k = 0; k < whole; k += FO_W)
                FO_UNROLL
                for (int r = 0; r < FO_DOT_ROWS; r++) {
                    FO_V left = FO(load)(row[r] + k);
                    FO_UNROLL
                    for (int c = 0; c < FO_DOT_COLUMNS; c++)
                        sums[r * FO_DOT_COLUMNS + c] += left * FO(load)(column[c] + k);
                }
            if (whole < K && K >= FO_W)
                FO_UNROLL
                for (int r = 0; r < FO_DOT_ROWS; r++) {
                    FO_V left = (FO_V)((FO_I)FO(load)(row[r] + K - FO_W) & mask);
                    FO_UNROLL
                    for (int c = 0; c < FO_DOT_COLUMNS; c++)
                        sums[r * FO_DOT_COLUMNS + c] +=
                            left * (FO_V)((FO_I)FO(load)(column[c] + K - FO_W) & mask);
                }
            FO_V total = FO(totals)(sums);
            FO_T sum[FO_W];
            FO(store)(sum, total);
            const int rows = M - m < FO_DOT_ROWS ? M - m : FO_DOT_ROWS;
            const int columns = N - n < FO_DOT_COLUMNS ? N - n : FO_DOT_COLUMNS;
            if (rows == FO_DOT_ROWS && columns == FO_DOT_COLUMNS && out_n == 1 && (!bias || bias_n == 1)) {
                FO_UNROLL
                for (int r = 0; r < FO_DOT_ROWS; r++) {
                    FO(piece) piece, old = {0};
                    memcpy(&piece, sum + r * FO_DOT_COLUMNS, sizeof piece);
                    if (bias)
                        memcpy(&old, bias + (m + r) * bias_m + n, sizeof old);
                    piece += old;
                    memcpy(out + (m + r) * out_m + n, &piece, sizeof piece);
                }
            } else {
                for (int r = 0; r < rows; r++)
                    for (int c = 0; c < columns; c++)
                        out[(m + r) * out_m + (n + c) * out_n] =
                            sum[r * FO_DOT_COLUMNS + c] +
                            (bias ? bias[(m + r) * bias_m + (n + c) * bias_n] : 0);
            }
        }
}

/* out[r, c] = in[c, r]: squares of vectors are turned in registers, the edges element by element. */
static void FO(transpose)(long rows, long columns, const FO_T *in, long in_c, FO_T *out, long out_r)
{
    const long whole_rows = rows / FO_W * FO_W, whole_columns = columns / FO_W * FO_W;
    for (long r = 0; r < whole_rows; r += FO_W)
        for (long c = 0; c < whole_columns; c += FO_W) {
            FO_V line[FO_W];
            FO_UNROLL
            for (int i = 0; i < FO_W; i++)
                line[i] = FO(load)(in + (c + i) * in_c + r);
#define FO_LOW(lane, half) (((lane) & (half) ? (lane) - (half) + FO_W : (lane)) % (2 * FO_W))
#define FO_HIGH(lane, half) (((lane) & (half) ? (lane) + FO_W : (lane) + (half)) % (2 * FO_W))
#define FO_LEVEL(half)                                                                             \
    if (half < FO_W) {                                                                             \
        FO_UNROLL                                                                                  \
        for (int i = 0; i < FO_W; i++)                                                             \
            if (!(i & half)) {                                                                     \
                FO_V first = line[i], second = line[(i + half) % FO_W];                            \
                line[i] = FO_SHUFFLE(first, second, FO_LOW, half);                                 \
                line[(i + half) % FO_W] = FO_SHUFFLE(first, second, FO_HIGH, half);                \
            }                                                                                      \
    }
            FO_LEVEL(1)
            FO_LEVEL(2)
            FO_LEVEL(4)
            FO_LEVEL(8)
#undef FO_LOW
#undef FO_HIGH
#undef FO_LEVEL
            FO_UNROLL
            for (int i = 0; i < FO_W; i++)
                FO(store)(out + (r + i) * out_r + c, line[i]);
        }
    for (long r = 0; r < rows; r++)
        for (long c = r < whole_rows ? whole_columns : 0; c < columns; c++)
            out[r * out_r + c] = in[c * in_c + r];
}

/* Any strides. */
FO_INLINE void FO(matmul_strided)(long M, long N, long K, const FO_T *a, long a_m, long a_k,
                                  const FO_T *b, long b_k, long b_n, FO_T *out, long out_m, long out_n,
                                  const FO_T *bias, long bias_m, long bias_n)
{
    for (long m = 0; m < M; m++)
        for (long n = 0; n < N; n++) {
            FO_T sum = bias ? bias[m * bias_m + n * bias_n] : 0;
            for (long k = 0; k < K; k++)
                sum += a[m * a_m + k * a_k] * b[k * b_k + n * b_n];
            out[m * out_m + n * out_n] = sum;
        }
}

// C (=|+=) op(A) op(B), all strides free.
#pragma once
#include "simd.h"

// Floats of scratch that gemm() needs: a copied block of A and one of B.
#define GEMM_MC 96
#define GEMM_KC 256
#define GEMM_NC 512
#define GEMM_SCRATCH_FLOATS (GEMM_MC * GEMM_KC + GEMM_KC * GEMM_NC)

// c[i * ldc + j] (= or +=) sum over p of a[i * a_row + p * a_col] * b[p * b_row + j * b_col]
// for i < m, j < n, p < k. scratch: GEMM_SCRATCH_FLOATS, 16-byte aligned.
void gemm(i32 m, i32 n, i32 k, const float *a, i32 a_row, i32 a_col, const float *b, i32 b_row,
          i32 b_col, float *c, i32 ldc, i32 accumulate, float *scratch);

/* The calls of all_reduce.ts in C, after a barrier: MPI_Allreduce in place, in pieces of 256 MB, and up to 64 KB,
   where ours does not block, MPI_Iallreduce and MPI_Test until it is done. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

int main(int argc, char **argv) {
  const long sizes[] = {4L << 10, 4L << 20, 64L << 20, 512L << 20};
  int rank, granted;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &granted);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  for (int s = 0; s < 4; s++) {
    long bytes = sizes[s], piece = 1L << 28;
    int rounds = bytes > (1L << 26) ? 5 : bytes > (1L << 20) ? 15 : 200;
    float *values = malloc(bytes);
    double *times = malloc(rounds * sizeof(double));
    for (long i = 0; i < bytes / 4; i++) values[i] = 1e-3f;
    for (int r = 0; r < rounds; r++) {
      MPI_Barrier(MPI_COMM_WORLD);
      double start = MPI_Wtime();
      for (long from = 0; from < bytes; from += piece) {
        long length = bytes - from < piece ? bytes - from : piece;
        float *part = values + from / 4;
        int count = (int)(length / 4), done = 0;
        if (length > 1L << 16) {
          MPI_Allreduce(MPI_IN_PLACE, part, count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
          continue;
        }
        MPI_Request request;
        MPI_Iallreduce(MPI_IN_PLACE, part, count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD, &request);
        while (!done) MPI_Test(&request, &done, MPI_STATUS_IGNORE);
      }
      times[r] = 1000 * (MPI_Wtime() - start);
    }
    qsort(times, rounds, sizeof(double), by_value);
    if (rank == 0) {
      printf("{\"program\":\"c\",\"bytes\":%ld,\"ms\":%f,\"min\":%f}\n", bytes, times[rounds / 2],
             times[0]);
    }
    free(values);
    free(times);
  }
  MPI_Finalize();
  return 0;
}

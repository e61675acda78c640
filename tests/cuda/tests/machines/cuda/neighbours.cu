// y[i] = what the warp before has written, in shared memory. The first warp reads its own. Then all write again.
//
// Compiled for FAULT, which is what is wrong:
#define NONE 0
// No barrier between writes and reads. Where warps run one after another, all is written that is read.
#define NO_BARRIER 1
// No barrier between reads and the next writes, which write the same: no order changes the numbers.
#define WRITTEN_AGAIN 2

extern "C" __global__ void __launch_bounds__(256) neighbours(float *y) {
    extern __shared__ __align__(1024) unsigned char dynamic_shared_mem[];
    float *numbers = reinterpret_cast<float *>(dynamic_shared_mem);
    numbers[threadIdx.x] = threadIdx.x;
    if (FAULT != NO_BARRIER)
        __syncthreads();
    y[threadIdx.x] = numbers[threadIdx.x < 32 ? threadIdx.x : threadIdx.x - 32];
    if (FAULT != WRITTEN_AGAIN)
        __syncthreads();
    numbers[threadIdx.x] = threadIdx.x;
}

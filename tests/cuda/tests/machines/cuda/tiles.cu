// Copies the tile at (x, y, z) of a tensor to another place of another tensor, and counts how the bytes came.
//
//   tensor | zeros outside |  ->  tile in shared memory, permuted or not  ->  `seen`, as it lies there, and another tensor
//
// Compiled for BOX, the bytes of the tile.
#define THREADS 64

struct Params {
    int x, y, z, to_x, to_y, to_z;
};

extern "C" __global__ void __launch_bounds__(THREADS)
    tiles(const __grid_constant__ TensorMap from, const __grid_constant__ TensorMap to, const float *, float *, float *seen, const Params p) {
    extern __shared__ __align__(1024) unsigned char dynamic_shared_mem[];
    const unsigned tile = (shared_address(dynamic_shared_mem) + 1023) / 1024 * 1024, barrier = tile + BOX;
    if (threadIdx.x == 0) {
        barrier_init(barrier, 1);
        show_barriers();
        barrier_expect(barrier, BOX);
        load_box(tile, &from, barrier, p.x, p.y, p.z);
    }
    __syncthreads();
    barrier_wait(barrier, 0);
    const float *lies = reinterpret_cast<const float *>(dynamic_shared_mem + (tile - shared_address(dynamic_shared_mem)));
    for (int i = threadIdx.x; i < BOX / 4; i += THREADS)
        seen[i] = lies[i];
    if (threadIdx.x == 0) {
        store_box(&to, tile, p.to_x, p.to_y, p.to_z);
        stores_end();
        stores_wait<0>();
    }
}

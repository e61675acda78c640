// bfloat16: f32 without the lower half.
#pragma once
#include "small_floats.h"
SMALL_FLOAT(__nv_bfloat16, emulated::widen_bfloat, emulated::narrow_bfloat)
typedef __nv_bfloat162 nv_bfloat162;

// IEEE binary16.
#pragma once
#include "small_floats.h"
SMALL_FLOAT(__half, emulated::widen_half, emulated::narrow_half)

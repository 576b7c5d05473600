// Marks what the shared library exports; everything else is hidden.
//
// Floor 0, base.

#pragma once

#define WATERSPOUT_API __attribute__((visibility("default")))

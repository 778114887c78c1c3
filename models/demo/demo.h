/*
 * demo.h: the demo model, a GGUF file of moxie_demo_model_bytes bytes inside the program (demo.S).
 *
 *     gguf_open_mem(&g, moxie_demo_model, moxie_demo_model_bytes);
 *
 * Read-only, aligned to 4096 bytes, there as long as the program runs. What it is and where it
 * comes from: models/demo/README.md.
 */
#ifndef DEMO_H
#define DEMO_H

#include <stdint.h>

extern const unsigned char moxie_demo_model[];
extern const uint64_t moxie_demo_model_bytes;

#endif

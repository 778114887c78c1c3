/*
 * limits.h: every static limit, with its reason. Counts that a file or a user may claim are checked
 * against these before anything is computed from them.
 */
#ifndef BASE_LIMITS_H
#define BASE_LIMITS_H

#define LAYERS_MAX 512            /* largest known: 126 (Llama-3.1-405B); room for stacks */
#define EXPERTS_MAX 1024          /* largest known: 512 (qwen3next) */
#define EXPERTS_USED_MAX 64       /* largest known: 22 (Nemotron 3 Super) */
#define DIM_MAX (1u << 20)        /* widest row of one token: qkv of the largest models is 2^17 */
#define HEADS_MAX 1024            /* largest known: 128 */
#define HEAD_DIM_MAX 1024         /* largest known: 576 (an MLA latent row); 512 (gemma4) */
#define VOCAB_MAX (1u << 22)      /* largest known: 262,144 (gemma 3); 1 M leaves room */
#define CTX_MAX (1u << 26)        /* positions; beyond any model, and KV sizes stay in 64 bits */
#define BATCH_MAX 4096            /* tokens of one prefill piece */
#define BATCH_DEFAULT 512         /* llama.cpp's physical batch: activations stay small */
#define KV_SPAN 256               /* positions of one KV span: scores of a span stay in L1 */
#define THREADS_MAX 256           /* more than any machine moxie aims at */
#define TENSOR_NAME_BYTES_MAX 63  /* GGML_MAX_NAME - 1 */
#define TENSOR_DIMS_MAX 4         /* GGUF */
#define GGUF_KEYS_MAX (1u << 16)    /* real files hold fewer than 200; 3 MB of table at most */
#define GGUF_ITEMS_MAX (1u << 24)   /* of an array; largest known: 514,906 merges (gemma 3) */
#define GGUF_TENSORS_MAX (1u << 20) /* largest known: about 20,000 with experts stored one by one */
#define GGUF_KEY_BYTES_MAX 65535  /* GGUF specification */
#define GGUF_SPLITS_MAX 1024      /* files of one model: 397 B in 4 GB parts are about 100 */
#define GGUF_ALIGN_MIN 8          /* GGUF specification: a multiple of 8 */
#define GGUF_ALIGN_DEFAULT 32     /* GGUF specification */
#define GGUF_ALIGN_MAX (1u << 20) /* largest alignment in use is 4096; a power of two up to 1 MiB */
#define TOKEN_BYTES_MAX 65535     /* of one vocabulary entry; real ones stay below 1 KiB */
#define PROMPT_BYTES_MAX (1u << 28) /* a text to tokenise: CTX_MAX tokens of 4 bytes */
#define CONV_TAPS_MAX 16          /* short convolutions: 3 or 4 taps in all known models */

#endif

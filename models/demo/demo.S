/*
 * demo.S: the demo model as bytes in the program's read-only data. An assembler includes 6 MB in no
 * time and in no memory, which a C array of numbers does not. `-I.` is the top of the tree.
 */
    .section .rodata
    .global moxie_demo_model
    .type moxie_demo_model, %object
    .balign 4096
moxie_demo_model:
    .incbin "models/demo/tinymoe-q8_0.gguf"
demo_end:
    .size moxie_demo_model, demo_end - moxie_demo_model

    .global moxie_demo_model_bytes
    .type moxie_demo_model_bytes, %object
    .balign 8
moxie_demo_model_bytes:
    .quad demo_end - moxie_demo_model
    .size moxie_demo_model_bytes, 8

    .section .note.GNU-stack, "", %progbits

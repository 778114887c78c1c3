/*
 * asan.h: is this built with AddressSanitizer? gcc and clang say so in ways of their own.
 *
 *     if (BASE_ASAN) ... each piece is a heap block of its own ...
 */
#ifndef BASE_ASAN_H
#define BASE_ASAN_H

#if defined(__SANITIZE_ADDRESS__) /* gcc */
#define BASE_ASAN 1
#elif defined(__has_feature) /* clang */
#if __has_feature(address_sanitizer)
#define BASE_ASAN 1
#endif
#endif
#ifndef BASE_ASAN
#define BASE_ASAN 0
#endif

#endif

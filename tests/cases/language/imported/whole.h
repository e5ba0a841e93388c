#ifndef H_H
#define H_H
struct later;
typedef struct later later_t;
typedef unsigned int word_t, *word_p;
typedef struct { char a; word_t b; } pair_t;
typedef struct named { word_t w[2]; } named_t;
typedef enum { RED_ONE = 3, RED_TWO } red_t;
typedef int (*callback_t)(void *, int);
typedef double real_t;
typedef unsigned char mac_t[6];
struct opaque_thing;
typedef struct opaque_thing opaque_t;
static inline int twice_of(int a) { if (a) { return a / 2; } return a * 2; }
extern int counter;
extern int printf_like(const char *format, ...) __attribute__((format(printf, 1, 2)));
int prototype(struct later *a, int b);
static const char *const names[] = { "a", "b" };
struct later *get_it(void);
void body(void) { for (;;) { } }
struct later { later_t *next; callback_t cb; char c; real_t d; mac_t mac; opaque_t *hidden; red_t red; };
#endif

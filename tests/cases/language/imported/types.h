#define LIMIT 7
struct point {
	int x;
	int y;
};

/* A C program's struct, its schema, and a message. usage: schema text|message */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct order {
	uint8_t kind;
	double price;
	int16_t change[3];
	struct {
		uint32_t number;
		int64_t time;
	} tick[2];
	float weight;
};

#define FIELD(s, f, type) printf("{\"name\": \"" #f "\", \"offset\": %zu, \"type\": " type "}", offsetof(struct s, f))

int main(int argc, char **argv)
{
	struct order o;

	if (argc == 2 && strcmp(argv[1], "text") == 0) {
		printf("{\"size\": %zu, \"fields\": [\n", sizeof o);
		FIELD(order, kind, "\"u8\""), puts(",");
		FIELD(order, price, "\"f64\""), puts(",");
		FIELD(order, change, "{\"array\": 3, \"of\": \"i16\"}"), puts(",");
		FIELD(order, tick, "{\"array\": 2, \"of\": {\"size\": 16, \"fields\": ["
		      "{\"name\": \"number\", \"offset\": 0, \"type\": \"u32\"}, {\"name\": \"time\", \"offset\": 8, \"type\": \"i64\"}]}}"), puts(",");
		FIELD(order, weight, "\"f32\"");
		puts("]}");
		return 0;
	}
	memset(&o, 0xff, sizeof o); /* what lies between the fields is nobody's */
	o.kind = 200;
	o.price = 52.5;
	o.change[0] = -1, o.change[1] = 0, o.change[2] = 32767;
	o.tick[0].number = 4000000000u, o.tick[0].time = INT64_MIN;
	o.tick[1].number = 0, o.tick[1].time = 9007199254740993;
	o.weight = 0.1f;
	return fwrite(&o, sizeof o, 1, stdout) != 1;
}

/* A C program's struct, its schema, and a message. usage: schema text|message */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct order {
	uint8_t Kind;
	double Price;
	int16_t Change[3];
	struct {
		uint32_t Number;
		int64_t Time;
	} Tick[2];
	float Weight;
};

#define FIELD(s, f, type) printf("{\"name\": \"" #f "\", \"offset\": %zu, \"type\": " type "}", offsetof(struct s, f))

int main(int argc, char **argv)
{
	struct order o;

	if (argc == 2 && strcmp(argv[1], "text") == 0) {
		printf("{\"size\": %zu, \"fields\": [\n", sizeof o);
		FIELD(order, Kind, "\"u8\""), puts(",");
		FIELD(order, Price, "\"f64\""), puts(",");
		FIELD(order, Change, "{\"array\": 3, \"of\": \"i16\"}"), puts(",");
		FIELD(order, Tick, "{\"array\": 2, \"of\": {\"size\": 16, \"fields\": ["
		      "{\"name\": \"Number\", \"offset\": 0, \"type\": \"u32\"}, {\"name\": \"Time\", \"offset\": 8, \"type\": \"i64\"}]}}"), puts(",");
		FIELD(order, Weight, "\"f32\"");
		puts("]}");
		return 0;
	}
	memset(&o, 0xff, sizeof o); /* what lies between the fields is nobody's */
	o.Kind = 200;
	o.Price = 52.5;
	o.Change[0] = -1, o.Change[1] = 0, o.Change[2] = 32767;
	o.Tick[0].Number = 4000000000u, o.Tick[0].Time = INT64_MIN;
	o.Tick[1].Number = 0, o.Tick[1].Time = 9007199254740993;
	o.Weight = 0.1f;
	return fwrite(&o, sizeof o, 1, stdout) != 1;
}

/* The seed's server, written as its document describes: open, ftruncate, mmap,
 * close, write a text. usage: server FILE TEXT */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

enum { size = 1024 };

int main(int argc, char *argv[])
{
	if (argc != 3)
		return 2;
	int fd = open(argv[1], O_RDWR | O_CREAT, 0644);
	if (fd < 0 || ftruncate(fd, size) != 0) {
		perror(argv[1]);
		return 1;
	}
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	close(fd);
	snprintf(memory, size, "%s", argv[2]);
	return munmap(memory, size) == 0 ? 0 : 1;
}

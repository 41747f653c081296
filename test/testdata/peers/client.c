/* The seed's client: the same steps, then print what is there. It opens for
 * writing and sets the size too, as the seed's does. usage: client FILE */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

enum { size = 1024 };

int main(int argc, char *argv[])
{
	if (argc != 2)
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
	printf("ipc client get: %s\n", memory);
	return munmap(memory, size) == 0 ? 0 : 1;
}

/* The POSIX way to the same memory. usage: shm write|read NAME TEXT-OR-LENGTH */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char *argv[])
{
	if (argc != 4)
		return 2;
	int writing = strcmp(argv[1], "write") == 0;
	int fd = shm_open(argv[2], writing ? O_RDWR | O_CREAT : O_RDONLY, 0600);
	if (fd < 0 || (writing && ftruncate(fd, 4096) != 0)) {
		perror(argv[2]);
		return 1;
	}
	struct stat st;
	if (fstat(fd, &st) != 0)
		return 1;
	char *memory = mmap(NULL, st.st_size, writing ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	close(fd);
	if (writing)
		strcpy(memory, argv[3]);
	else
		printf("%.*s", atoi(argv[3]), memory);
	return 0;
}

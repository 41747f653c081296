// Boot runs tests under another kernel: it boots that in a virtual machine (QEMU), with
// nothing in it but the test binaries of the packages, and prints what they say as
// go test -json does. It needs no root.
//
//	boot -kernel FILE [-run REGEXP] [-skip REGEXP] [-timeout DURATION] [-each DURATION] PACKAGE...
//
// In the machine this program is the first process, and the tests are root's. Their build
// tag root is set: what may be changed there is nobody's.
//
// It exits with 0 if all packages passed, with 1 if one did not, or has no result because
// the machine ended before.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("boot: ")
	if os.Getpid() == 1 {
		first()
	}
	kernel := flag.String("kernel", "", "`file` with the kernel, as a boot loader takes it")
	only := flag.String("run", "", "`regexp` of tests that are run; all if empty")
	skip := flag.String("skip", "", "`regexp` of tests that are left out")
	memory := flag.Int("memory", 4096, "`MiB` of memory of the machine")
	timeout := flag.Duration("timeout", time.Hour, "`time` for all of it")
	each := flag.Duration("each", 20*time.Minute, "`time` for each package")
	flag.Parse()
	if *kernel == "" || flag.NArg() == 0 {
		log.Print("needs a kernel and packages; see -help")
		os.Exit(2)
	}
	dir, err := os.MkdirTemp("", "memlane-boot-")
	if err != nil {
		log.Fatal(err)
	}
	options := []string{"-test.v=test2json", "-test.timeout=" + each.String(), "-test.run=" + *only}
	if *skip != "" { // an empty one skips all
		options = append(options, "-test.skip="+*skip)
	}
	err = run(dir, *kernel, *memory, *timeout, options, flag.Args())
	os.RemoveAll(dir)
	if err != nil {
		log.Fatal(err)
	}
}

func run(dir, kernel string, memory int, timeout time.Duration, options, patterns []string) error {
	packages, err := output("go", append([]string{"list"}, patterns...)...)
	if err != nil {
		return err
	}
	tests := strings.Fields(packages)
	image := filepath.Join(dir, "initramfs")
	if err := build(dir, image, options, tests); err != nil {
		return err
	}
	processor := []string{"-cpu", "max"} // emulated: many times as slow
	if virtualises() {
		processor = []string{"-enable-kvm", "-cpu", "host"}
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	console := filepath.Join(dir, "console")
	qemu := exec.CommandContext(ctx, "qemu-system-x86_64", append(processor,
		"-smp", "2", "-m", strconv.Itoa(memory), "-nodefaults", "-display", "none", "-no-reboot",
		"-kernel", kernel, "-initrd", image, "-append", "console=ttyS0 panic=-1 quiet no_timer_check",
		"-serial", "file:"+console, "-serial", "stdio")...)
	qemu.Stderr = os.Stderr
	out, err := qemu.StdoutPipe()
	if err != nil {
		return err
	}
	if err := qemu.Start(); err != nil {
		return err
	}
	bad := relay(out, tests)
	if err := errors.Join(ctx.Err(), qemu.Wait()); err != nil {
		bad = append(bad, err.Error())
	}
	if len(bad) == 0 {
		return nil
	}
	said, _ := os.ReadFile(console)
	return fmt.Errorf("%s\nthe machine's console:\n%s", strings.Join(bad, "\n"), said)
}

// virtualises reports whether this machine can run another one's instructions itself. A
// /dev/kvm alone does not say so: there are some without the processor's own means, in
// which a kernel does not come far.
func virtualises() bool {
	kvm, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	kvm.Close()
	text, err := os.ReadFile("/proc/cpuinfo")
	return err == nil && regexp.MustCompile(`(?m)^flags\s*:.*\b(vmx|svm)\b`).Match(text)
}

// output returns what a command prints.
func output(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH=amd64")
	text, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return string(text), nil
}

// build makes what the machine has for a file system.
func build(dir, image string, options, tests []string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	converter := filepath.Join(dir, "test2json")
	if _, err := output("go", "build", "-o", converter, "cmd/test2json"); err != nil {
		return err
	}
	files := []file{
		{name: "dev", mode: folder | 0o755},
		{name: "dev/console", mode: device | 0o600, major: 5, minor: 1},
		{name: "etc", mode: folder | 0o755},
		{name: "etc/passwd", mode: regular | 0o644, text: "root:x:0:0::/:/none\nnobody:x:65534:65534::/:/none\n"},
		{name: "etc/group", mode: regular | 0o644, text: "root:x:0:\nnogroup:x:65534:\n"},
		{name: "init", mode: regular | 0o755, path: self},
		{name: "test2json", mode: regular | 0o755, path: converter},
		{name: "tests", mode: folder | 0o755},
	}
	for _, name := range mounts {
		files = append(files, file{name: name.dir[1:], mode: folder | 0o755})
	}
	var plan strings.Builder
	for i, test := range tests {
		binary := filepath.Join(dir, strconv.Itoa(i))
		if _, err := output("go", "test", "-c", "-tags", "root", "-o", binary, test); err != nil {
			return err
		}
		if _, err := os.Stat(binary); err != nil {
			return fmt.Errorf("%s has no tests", test)
		}
		name := fmt.Sprintf("tests/%d.test", i)
		files = append(files, file{name: name, mode: regular | 0o755, path: binary})
		fmt.Fprintf(&plan, "%s\t/%s\t%s\n", test, name, strings.Join(options, "\t"))
	}
	files = append(files, file{name: "plan", mode: regular | 0o644, text: plan.String()})
	return writeArchive(image, files)
}

// event is one line of go test -json; see go doc test2json.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
	Elapsed float64
}

// relay prints what the machine says, with a line for each package as the go command has
// it, and returns what was wrong.
func relay(in io.Reader, tests []string) (bad []string) {
	result := map[string]string{}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	tell := func(e event) {
		text, err := json.Marshal(e)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(string(text))
	}
	summary := func(e event, word string) {
		tell(event{Action: "output", Package: e.Package, Output: fmt.Sprintf("%s\t%s\t%.3fs\n", word, e.Package, e.Elapsed)})
	}
	for lines.Scan() {
		line := strings.TrimSuffix(lines.Text(), "\r")
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			fmt.Fprintln(os.Stderr, line)
			continue
		}
		if e.Test == "" && (e.Action == "pass" || e.Action == "fail" || e.Action == "skip") {
			result[e.Package] = e.Action
			summary(e, map[string]string{"pass": "ok  ", "skip": "ok  ", "fail": "FAIL"}[e.Action])
		}
		fmt.Println(line)
	}
	if err := lines.Err(); err != nil {
		bad = append(bad, err.Error())
	}
	for _, test := range tests {
		switch result[test] {
		case "pass", "skip":
		case "fail":
			bad = append(bad, test+" failed")
		default:
			bad = append(bad, test+" has no result")
			e := event{Action: "fail", Package: test}
			summary(e, "FAIL")
			tell(e)
		}
	}
	return bad
}

package segment

// WithoutTmpfile has segments built as on file systems without O_TMPFILE.
func WithoutTmpfile(on bool) { noTmpfile = on }

// HiddenPrefix begins the names of files that are being built there.
const HiddenPrefix = hiddenPrefix

# Print the Makefile's verbs: `##@ Heading` lines and `verb: … ## what it does` lines.
/^##@ / { printf "%s%s\n", separator, substr($0, 5); separator = "\n" }
/^[a-z-]+:.*## / {
    verb = $1
    sub(/:.*/, "", verb)
    sub(/.*## /, "")
    printf "  make %-16s %s\n", verb, $0
}

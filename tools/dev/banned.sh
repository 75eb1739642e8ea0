#!/usr/bin/env bash
# banned - functions and words that have no place here, each with its reason
#
#   banned.sh [DIR]
#
# Comments and string literals are blanked out first, so that prose may name what code must not.
set -euo pipefail
cd "${1:-$(dirname "$0")/../..}"

# files (a pattern) | what (a Perl pattern) | why
rules='
^(include|ring|store|engine|tools|bench|tests|docs)/|\b(strcpy|strcat|sprintf|vsprintf|gets|stpcpy)\s*\(|no bound: use snprintf or memcpy with a length
^(include|ring|store|engine|tools|bench|tests|docs)/|\bstrtok\s*\(|hidden state: use strsep or a cursor
^(include|ring|store|engine|tools|bench|tests|docs)/|\b(atoi|atol|atoll|atof)\s*\(|no error: use strtol and look at the end
^(include|ring|store|engine|tools|bench|tests|docs)/|\balloca\s*\(|no limit: use a bounded array
^(include|ring|store|engine|tools|bench|tests|docs)/|\b(usleep|s?rand)\s*\(|use pen_clock, nanosleep, or a seeded generator
^(include|ring|store|engine|tools)/|\bvolatile\b(?!\s*(sig_atomic_t|\())|shares nothing safely: use _Atomic with an order
^(include|ring|store|engine|tools)/|\batomic_(load|store|exchange|fetch_(add|sub|or|and|xor)|compare_exchange_(weak|strong))\s*\(|implicit seq_cst: use the _explicit form
^(include|ring|store|engine|tools)/|\b(atomic_thread_fence|atomic_signal_fence|__sync_\w+)\s*\(|the race checker cannot see it: put the order on the word it protects
^(ring|store|engine)/(?!assert\.[ch]$)|\b(printf|fprintf|vfprintf|puts|fputs|putchar|perror|dprintf)\s*\(|rooms below tools never print: return a code
^(ring|store|engine)/(?!assert\.[ch]$|verify\.c$|launcher_main\.c$)|\b(_?exit|quick_exit|err|errx)\s*\(|rooms below tools never exit: return a code
^(include|ring|store|engine|tools)/|(?<!\.)\bassert\s*\(|compiled out in release: use pen_assert
^(ring|store|engine)/|\b(time|gettimeofday|clock)\s*\(|one door for time: ring/clock.h
'
{ find include ring store engine tools bench tests docs/examples -name '*.[ch]' -o -name '*.cc' 2>/dev/null || true; } |
	sort |
	RULES=$rules perl -ne '
BEGIN { @rules = map { /^(.*?)\|(\\b.*|\(\?.*)\|([^|]*)$/ ? [$1, $2, $3] : die "bad rule: $_" } grep { length } split /\n/, $ENV{RULES}; }
chomp; my $file = $_;
open my $in, "<", $file or die "$file: $!"; local $/; my $text = <$in>; close $in; $/ = "\n";
my $n = 0;
for (split /\n/, $text) { $n++; next unless /\b(TODO|FIXME|XXX|HACK)\b/; print STDERR "$file:$n: $1: finish it or write it down in docs\n"; $bad = 1; }
(my $blank = $text) =~ s{(/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\x27(?:\\.|[^\x27\\\n])*\x27)}{(my $x = $1) =~ s/[^\n]/ /g; $x}gse;
my @here = grep { $file =~ /$_->[0]/ } @rules;
$n = 0;
for my $line (split /\n/, $blank) {
	$n++;
	for my $rule (@here) {
		next unless $line =~ /($rule->[1])/;
		print STDERR "$file:$n: banned: $1: $rule->[2]\n"; $bad = 1;
	}
}
END { $? = $bad ? 1 : 0 }'

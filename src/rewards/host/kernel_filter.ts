/**
 * Landlock and seccomp for a child, applied by a small Perl program that then becomes the child.
 *
 * Perl, since it can make any system call and is part of most Linux systems, while Deno cannot restrict
 * itself. Landlock leaves the files that the runtime needs and what is granted. Seccomp refuses to
 * start processes, to accept connections, to open sockets without a network grant, and what a
 * computation never needs. A kernel without one of them gets the other.
 */
import type { ResolvedGrants } from "./sandbox_grants.ts";

/** System call numbers that differ between processors. */
const NUMBERS: Record<string, Record<string, number>> = {
  x86_64: {
    audit: 0xc000003e,
    openat: 257,
    prctl: 157,
    seccomp: 317,
    clone: 56,
    ioctl: 16,
    socket: 41,
    bind: 49,
  },
  aarch64: {
    audit: 0xc00000b7,
    openat: 56,
    prctl: 167,
    seccomp: 277,
    clone: 220,
    ioctl: 29,
    socket: 198,
    bind: 200,
  },
};

/**
 * System calls that a child never needs, by processor: other processes (ptrace, kill, fork, …),
 * incoming connections (listen, accept), kernel state (mount, bpf, keys, io_uring, …).
 */
const DENIED: Record<string, readonly number[]> = {
  // deno-fmt-ignore
  x86_64: [
    43, 50, 288, 57, 58, 62, 101, 310, 311, 297, 129, 424, 434, 438, 322, 155, 161, 165, 166, 167,
    168, 169, 175, 176, 313, 246, 320, 272, 308, 321, 298, 323, 425, 426, 427, 248, 249, 250, 428, 429, 430,
    431, 432, 433, 442, 300, 301, 303, 304, 29, 64, 68, 240, 90, 91, 92, 93, 94, 260, 268, 280, 188, 189,
    190, 197, 198, 199, 109, 112, 135, 163, 153, 159, 227, 305, 170, 171, 319, 447, 452, 133, 259, 86, 265,
    88, 266, 82, 264, 316,
  ],
  // deno-fmt-ignore
  aarch64: [
    201, 202, 242, 129, 117, 270, 271, 138, 240, 424, 434, 438, 281, 51, 40, 39, 41, 97, 268, 105, 106,
    273, 104, 294, 280, 241, 282, 425, 426, 427, 217, 218, 219, 428, 429, 430, 431, 432, 433, 442, 262, 263,
    264, 265, 194, 186, 190, 180, 52, 53, 54, 55, 88, 5, 6, 7, 14, 15, 16, 154, 157, 92, 89, 58, 112, 161,
    162, 279, 447, 33, 36, 37, 38, 276, 452,
  ],
};

const SCRIPT = String.raw`
my ($mode, $net, $audit, $openat, $prctl, $seccomp, $clone, $ioctl, $socket, $denied, $n) =
  splice(@ARGV, 0, 11);
my @paths = splice(@ARGV, 0, $n);
my @found;
syscall($prctl, 38, 1, 0, 0, 0);
my $abi = syscall(444, 0, 0, 1);
if ($abi >= 1) {
  my $files = $abi >= 5 ? 0xffff : $abi >= 3 ? 0x7fff : $abi >= 2 ? 0x3fff : 0x1fff;
  my $ports = $abi >= 4 ? ($net ? 1 : 3) : 0;
  my $attr = pack("QQQ", $files, $ports, $abi >= 6 ? 3 : 0);
  my $set = syscall(444, $attr, $abi >= 6 ? 24 : $abi >= 4 ? 16 : 8, 0);
  my $ok = $set >= 0;
  for (@paths) {
    my ($kind, $path) = /^(.)(.*)$/s;
    my $fd = syscall($openat, -100, $path, 0x280000, 0);
    next if $fd < 0;
    my $rights = $kind eq "x" ? 5 : 4;
    $rights |= 8 if -d $path;
    my $rule = pack("Ql", $rights, $fd);
    $ok = 0 if syscall(445, $set, 1, $rule, 0) < 0;
  }
  $ok &&= syscall(446, $set, 0) == 0;
  push @found, "landlock" if $ok;
}
my @filter;
my $add = sub { push @filter, pack("SCCL", @_) };
my ($allow, $refuse) = (0x7fff0000, 0x00050001);
$add->(0x20, 0, 0, 4);
$add->(0x15, 1, 0, $audit);
$add->(0x06, 0, 0, $refuse);
$add->(0x20, 0, 0, 0);
$add->(0x35, 0, 1, 0x40000000);
$add->(0x06, 0, 0, $refuse);
$add->(0x15, 0, 1, 435);
$add->(0x06, 0, 0, 0x00050026);
for (split /,/, $denied) {
  $add->(0x15, 0, 1, $_);
  $add->(0x06, 0, 0, $refuse);
}
$add->(0x15, 0, 4, $clone);
$add->(0x20, 0, 0, 16);
$add->(0x45, 1, 0, 0x00010000);
$add->(0x06, 0, 0, $refuse);
$add->(0x06, 0, 0, $allow);
$add->(0x15, 0, 5, $ioctl);
$add->(0x20, 0, 0, 24);
$add->(0x15, 1, 0, 0x5412);
$add->(0x15, 0, 1, 0x541c);
$add->(0x06, 0, 0, $refuse);
$add->(0x06, 0, 0, $allow);
$add->(0x15, 0, $net ? 6 : 1, $socket);
if ($net) {
  $add->(0x20, 0, 0, 16);
  $add->(0x15, 3, 0, 2);
  $add->(0x15, 2, 0, 10);
  $add->(0x15, 1, 0, 16);
  $add->(0x06, 0, 0, $refuse);
  $add->(0x06, 0, 0, $allow);
} else {
  $add->(0x06, 0, 0, $refuse);
}
$add->(0x06, 0, 0, $allow);
my $code = join("", @filter);
my $program = pack("Sx6P", scalar(@filter), $code);
push @found, "seccomp" if syscall($seccomp, 1, 0, $program) == 0;
if ($mode eq "probe") { print "@found"; exit 0 }
exec { $ARGV[0] } @ARGV;
exit 126;
`;

/** Files that the runtime reads, beside its own program. Missing ones are skipped. */
const RUNTIME_PATHS = [
  "x/lib",
  "x/lib64",
  "x/usr/lib",
  "x/usr/lib64",
  "x/usr/local/lib",
  "x/nix/store",
  "x/gnu/store",
  "r/etc/ld.so.cache",
  "r/dev/null",
  "r/dev/urandom",
  "r/proc/self/stat",
  "r/proc/self/statm",
  "r/proc/self/cgroup",
  "r/proc/meminfo",
  "r/sys/fs/cgroup",
  "r/sys/devices/system/cpu",
];
/** Files for names and certificates of other hosts. */
const NETWORK_PATHS = [
  "r/etc/resolv.conf",
  "r/etc/hosts",
  "r/etc/host.conf",
  "r/etc/gai.conf",
  "r/etc/nsswitch.conf",
  "r/etc/services",
  "r/etc/ssl",
  "r/etc/pki",
  "r/etc/ca-certificates",
  "r/usr/share/ca-certificates",
  "r/run/systemd/resolve",
];

/** Whether the filter knows this system's processor. */
export function filterIsKnown(): boolean {
  return Deno.build.os === "linux" && NUMBERS[Deno.build.arch] !== undefined;
}

/**
 * The command line of the filter, to be followed by the program that it becomes.
 *
 * @param perl path of Perl
 * @param grants what the child may read, and whether it may connect
 * @param mode `run` runs the program; `probe` prints which of the two the kernel has
 */
export function filterCommand(
  perl: string,
  grants: { read: ResolvedGrants["read"]; network: boolean },
  mode: "run" | "probe" = "run",
): string[] {
  const { audit, openat, prctl, seccomp, clone, ioctl, socket, bind } = NUMBERS[Deno.build.arch];
  const paths = [
    `x${Deno.execPath()}`,
    ...RUNTIME_PATHS,
    ...(grants.network ? NETWORK_PATHS : []),
    ...(grants.read === true ? ["r/"] : grants.read.map((path) => `r${path}`)),
  ];
  return [
    perl,
    "-e",
    SCRIPT,
    "--",
    mode,
    grants.network ? "1" : "0",
    ...[audit, openat, prctl, seccomp, clone, ioctl, socket].map(String),
    // With a network grant bind() stays, for look-ups over UDP; Landlock refuses it for TCP.
    [...DENIED[Deno.build.arch], ...(grants.network ? [] : [bind])].join(","),
    String(paths.length),
    ...paths,
  ];
}

#!/usr/bin/env bash
# Runs a command as two ranks on two network namespaces of this machine, which see each other through a
# link of a chosen rate and delay, like two machines. Needs root, iproute2 and Open MPI 4.
# usage: bench/ranks/two_hosts.sh RATE DELAY COMMAND…   (RATE as 1gbit or "none", DELAY one way, as 0.5ms)
set -euo pipefail
rate="$1" delay="$2"
shift 2
folder="$(mktemp -d)"
cleanup() {
  ip netns del nanovlm_a 2>/dev/null || true
  ip netns del nanovlm_b 2>/dev/null || true
  rm -rf "$folder"
}
trap cleanup EXIT
ip netns add nanovlm_a
ip netns add nanovlm_b
ip link add nvl_a netns nanovlm_a type veth peer name nvl_b netns nanovlm_b
for side in a b; do
  [ $side = a ] && address=10.77.0.1/24 || address=10.77.0.2/24
  ip -n nanovlm_$side address add $address dev nvl_$side
  ip -n nanovlm_$side link set nvl_$side up
  ip -n nanovlm_$side link set lo up
  if [ "$rate" != none ]; then
    shape=(ip netns exec nanovlm_$side tc qdisc add dev nvl_$side root)
    "${shape[@]}" netem delay "$delay" rate "$rate" limit 20000 2>/dev/null || {
      # A kernel without netem has no delays.
      [ $side = a ] && echo "no netem in this kernel: the rate is $rate, without a delay" >&2
      "${shape[@]}" tbf rate "$rate" burst 256kb latency 100ms
    }
  fi
done
# In place of ssh: HOST, then words that a shell runs.
cat > "$folder/agent" <<'AGENT'
#!/usr/bin/env bash
shift
export TMPDIR="$(mktemp -d)"
exec ip netns exec nanovlm_b unshare --uts bash -c "hostname nanovlm-b; $*"
AGENT
chmod +x "$folder/agent"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1
command="$(printf '%q ' mpirun -H 10.77.0.1:1,10.77.0.2:1 --bind-to none \
  --mca plm_rsh_agent "$folder/agent" --mca btl_tcp_if_include 10.77.0.0/24 \
  --mca oob_tcp_if_include 10.77.0.0/24 -x NANOVLM_THREADS -x OMPI_MCA_mpi_yield_when_idle \
  -wdir "$PWD" "$@")"
ip netns exec nanovlm_a unshare --uts bash -c "hostname nanovlm-a; $command"

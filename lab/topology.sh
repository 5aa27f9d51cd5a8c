#!/bin/bash
# Networks for traffic, each host a network namespace. Run it or source it, inside lab/uml-run.
#
#   lab/topology.sh example1 up [N]    the network of EXAMPLE 1 in ipvsadm(8), with N real servers (5)
#   lab/topology.sh sync up            two directors, for the sync daemons
#   lab/topology.sh NETWORK down       removes it
#   lab/topology.sh on HOST COMMAND    runs a command on a host of it
#
# When `up` returns, the real servers respond with their name: to HTTP on port 80 and to datagrams on
# UDP port 53. Path /hold leaves the connection open. LAB_PREFIX is prepended to the names of the
# namespaces, so that several tests can each have a network at the same time.
set -u
lab=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
prefix=${LAB_PREFIX-}

# nsenter takes a third of the time of `ip netns exec`, which also mounts /sys
on() { nsenter --net="/run/netns/$prefix$1" -- "${@:2}"; }
links() { if [ "$1" = here ]; then ip -batch -; else ip -n "$prefix$1" -batch -; fi; }
# shellcheck disable=SC2016  # the inner shell expands it
set_in() { on "$1" bash -c 'cd /proc/sys/net && for s; do echo "${s#*=}" >"${s%%=*}"; done' - "${@:2}"; }
bridge() { echo "link add $1 type bridge forward_delay 0 mcast_snooping 0"; echo "link set $1 up"; }
hosts() { local h; for h; do echo "netns add $prefix$h"; done | links here; }
cable() {    # cable HOST DEVICE [BRIDGE]: its eth0 to DEVICE here
    echo "link add $2 type veth peer name eth0 netns $prefix$1"
    echo "link set $2 ${3:+master $3 }up"
}
address() {    # address HOST IPV4/LENGTH IPV6/LENGTH [GATEWAY4 GATEWAY6]
    links "$1" <<END
link set lo up
link set eth0 up
addr add $2 dev eth0
addr add $3 dev eth0 nodad
${4:+route add default via $4}
${5:+route add default via $5}
END
}
serve() { LAB_PREFIX=$prefix /usr/bin/python3 "$lab/server.py" "$@"; }
remove() {    # remove HOST...
    local h; [ ! -e "/run/${prefix}servers.pid" ] || kill "$(<"/run/${prefix}servers.pid")"
    for h; do echo "netns del $prefix$h"; done | links here
}

#   client 207.175.44.1 --- wan .110 DIRECTOR .254 lan (a bridge) --- rs1 192.168.10.1, rs2 .2 ...
#          2001:db8::1      ::80              ::fe                     2001:db8:10::1, ::2 ...
# The director is the namespace in which this runs. It is the gateway of the real servers, which
# masquerading requires.
example1_servers() { local n=1; while [ -e "/run/netns/${prefix}rs$n" ]; do echo "rs$n"; n=$((n + 1)); done; }
example1_up() {
    local n servers=()
    for ((n = 1; n <= ${1:-5}; n++)); do servers+=("rs$n"); done
    hosts client "${servers[@]}"
    {
        bridge lan
        cable client wan
        echo 'addr add 207.175.44.110/24 dev wan'
        echo 'addr add 2001:db8::80/64 dev wan nodad'
        echo 'addr add 192.168.10.254/24 dev lan'
        echo 'addr add 2001:db8:10::fe/64 dev lan nodad'
        for n in "${servers[@]}"; do cable "$n" "to-$n" lan; done
    } | links here
    echo 1 >/proc/sys/net/ipv4/ip_forward
    echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
    address client 207.175.44.1/24 2001:db8::1/64
    for n in "${servers[@]#rs}"; do
        address "rs$n" "192.168.10.$n/24" "2001:db8:10::$n/64" 192.168.10.254 2001:db8:10::fe
    done
    serve "${servers[@]}"
}
example1_down() {
    # shellcheck disable=SC2046
    remove client $(example1_servers)
    ip link del lan
}

# client .1, director1 .11, director2 .12 and rs1 .21 of 10.0.0.0/24 and 2001:db8::/64 on one
# bridge. Virtual addresses 10.0.0.100 and 2001:db8::100 for direct routing: director1 answers ARP and
# neighbour requests for them; director2 and rs1 have them without answering. Connections are
# synchronised from their first packet on.
sync_up() {
    local h
    hosts client director1 director2 rs1
    {
        bridge sync
        for h in client director1 director2 rs1; do cable $h "to-$h" sync; done
    } | links here
    address client 10.0.0.1/24 2001:db8::1/64
    address director1 10.0.0.11/24 2001:db8::11/64
    address director2 10.0.0.12/24 2001:db8::12/64
    address rs1 10.0.0.21/24 2001:db8::21/64
    for h in director2 rs1; do set_in $h ipv4/conf/all/arp_ignore=1 ipv4/conf/all/arp_announce=2; done
    for h in director1 director2; do
        set_in $h ipv4/conf/all/send_redirects=0 ipv4/conf/all/rp_filter=0 ipv4/conf/eth0/rp_filter=0 \
            ipv4/vs/sync_threshold='1 50'
    done
    # preferred_lft 0: else the director may use it as source address
    for h in director1:eth0 director2:lo rs1:lo; do
        links ${h%:*} <<END
addr add 10.0.0.100/32 dev ${h#*:}
addr add 2001:db8::100/128 dev ${h#*:} nodad preferred_lft 0
END
    done
    serve rs1
}
sync_down() { remove client director1 director2 rs1; ip link del sync; }

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    set -e
    case "$#:${1-} ${2-}" in
        [23]:'example1 up' | 2:'sync up' | 2:'example1 down' | 2:'sync down')
            # It changes addresses and routing: never run it on the host.
            [ -n "${UML_RUN-}" ] || { echo "topology.sh: run it inside lab/uml-run" >&2; exit 2; }
            "${1}_$2" "${@:3}" ;;
        [3-9]:'on '* | [1-9][0-9]*:'on '*) on "${@:2}" ;;
        *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
fi

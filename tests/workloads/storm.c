/*
 * A storm of small packets through a bridge, for guests: its one argument is how many seconds it lasts.
 *
 *     client (10.1.0.2) -- veth -- bridge (10.1.0.1) -- forwarded -- veth -- server (10.2.0.2)
 *
 * Each of the three is a network namespace of its own, all of which end with this program. The client sends TCP SYN packets of 54 bytes
 * to the bridge's own address. One DNAT rule sends them on to the server: packets of a bridge pass the rules of IPv4 before they are
 * routed (net.bridge.bridge-nf-call-iptables). The client has the first processor; what its packets cause is left to the last one.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BRIDGE_MAC "02:00:00:00:01:01"
#define FLOWS 4096
#define BATCH 64

/* In the order in which they need each other. What a kernel has built in, or does not have, is no file. */
static const char *const modules[] = {
	"crc32c_generic", "libcrc32c", "llc", "stp", "bridge", "br_netfilter", "veth", "nfnetlink", "nf_defrag_ipv4",
	"nf_defrag_ipv6", "nf_conntrack", "nf_nat", "nf_tables", "nft_chain_nat", "nft_nat",
};

static void fail(const char *what)
{
	fprintf(stderr, "storm: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* Runs a command that has to succeed. */
static void run(const char *format, ...)
{
	char command[256];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(command, sizeof(command), format, arguments);
	va_end(arguments);
	errno = 0;
	if (system(command) != 0)
		fail(command);
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		fail(path);
	close(fd);
}

static void load_modules(void)
{
	char path[128];

	for (size_t i = 0; i < sizeof(modules) / sizeof(modules[0]); i++) {
		snprintf(path, sizeof(path), "/sys/module/%s/refcnt", modules[i]);
		if (access(path, F_OK) == 0)
			continue;
		snprintf(path, sizeof(path), "/lib/modules/%s.ko", modules[i]);
		if (access(path, F_OK) == 0)
			run("insmod %s", path);
	}
}

/* A batch of netlink messages. */
static char batch[2048];
static size_t used;

static struct nlmsghdr *begin(int type, int flags, int family, int resource)
{
	struct nlmsghdr *message = (void *)(batch + used);
	struct nfgenmsg *general = NLMSG_DATA(message);

	*message = (struct nlmsghdr){ .nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | flags };
	*general = (struct nfgenmsg){ family, NFNETLINK_V0, htons(resource) };
	used += NLMSG_LENGTH(sizeof(*general));
	return message;
}

static void end(struct nlmsghdr *message)
{
	message->nlmsg_len = batch + used - (char *)message;
}

static struct nlattr *attribute(int type, const void *data, size_t size)
{
	struct nlattr *attribute = (void *)(batch + used);

	*attribute = (struct nlattr){ NLA_HDRLEN + size, type };
	if (size > 0)
		memcpy((char *)attribute + NLA_HDRLEN, data, size);
	used += NLA_ALIGN(NLA_HDRLEN + size);
	return attribute;
}

static void text(int type, const char *value)
{
	attribute(type, value, strlen(value) + 1);
}

static void number(int type, int value)
{
	uint32_t big_endian = htonl(value);

	attribute(type, &big_endian, sizeof(big_endian));
}

static struct nlattr *open_nest(int type)
{
	return attribute(type | NLA_F_NESTED, NULL, 0);
}

static void close_nest(struct nlattr *nest)
{
	nest->nla_len = batch + used - (char *)nest;
}

/* What `nft add rule ip nat prerouting dnat to ADDRESS` does, with the table and the chain that it takes. */
static void add_dnat(const char *address)
{
	const int nft = NFNL_SUBSYS_NFTABLES << 8, add = NLM_F_CREATE | NLM_F_ACK;
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct nlattr *outer, *element, *data, *value;
	struct in_addr to = { inet_addr(address) };
	int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER), acknowledged = 0;
	struct nlmsghdr *message;
	char answer[4096];

	end(begin(NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES));
	message = begin(nft | NFT_MSG_NEWTABLE, add, NFPROTO_IPV4, 0);
	text(NFTA_TABLE_NAME, "nat");
	end(message);
	message = begin(nft | NFT_MSG_NEWCHAIN, add, NFPROTO_IPV4, 0);
	text(NFTA_CHAIN_TABLE, "nat");
	text(NFTA_CHAIN_NAME, "prerouting");
	text(NFTA_CHAIN_TYPE, "nat");
	outer = open_nest(NFTA_CHAIN_HOOK);
	number(NFTA_HOOK_HOOKNUM, NF_INET_PRE_ROUTING);
	number(NFTA_HOOK_PRIORITY, -100);
	close_nest(outer);
	end(message);
	message = begin(nft | NFT_MSG_NEWRULE, add | NLM_F_APPEND, NFPROTO_IPV4, 0);
	text(NFTA_RULE_TABLE, "nat");
	text(NFTA_RULE_CHAIN, "prerouting");
	outer = open_nest(NFTA_RULE_EXPRESSIONS);
	element = open_nest(NFTA_LIST_ELEM);
	text(NFTA_EXPR_NAME, "immediate");
	data = open_nest(NFTA_EXPR_DATA);
	number(NFTA_IMMEDIATE_DREG, NFT_REG_1);
	value = open_nest(NFTA_IMMEDIATE_DATA);
	attribute(NFTA_DATA_VALUE, &to, sizeof(to));
	close_nest(value);
	close_nest(data);
	close_nest(element);
	element = open_nest(NFTA_LIST_ELEM);
	text(NFTA_EXPR_NAME, "nat");
	data = open_nest(NFTA_EXPR_DATA);
	number(NFTA_NAT_TYPE, NFT_NAT_DNAT);
	number(NFTA_NAT_FAMILY, NFPROTO_IPV4);
	number(NFTA_NAT_REG_ADDR_MIN, NFT_REG_1);
	close_nest(data);
	close_nest(element);
	close_nest(outer);
	end(message);
	end(begin(NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES));
	if (fd < 0 || sendto(fd, batch, used, 0, (void *)&kernel, sizeof(kernel)) < 0)
		fail("the rule");
	while (acknowledged < 3) {
		ssize_t left = recv(fd, answer, sizeof(answer), 0);

		if (left < 0)
			fail("the rule");
		for (message = (void *)answer; NLMSG_OK(message, left); message = NLMSG_NEXT(message, left)) {
			struct nlmsgerr *error = NLMSG_DATA(message);

			errno = message->nlmsg_type == NLMSG_ERROR ? -error->error : EPROTO;
			if (errno != 0)
				fail("the rule is refused");
			acknowledged++;
		}
	}
	close(fd);
}

static uint32_t sum_of(const void *data, size_t size, uint32_t sum)
{
	const uint16_t *words = data;

	for (size_t i = 0; i < size / 2; i++)
		sum += words[i];
	return sum;
}

static uint16_t checksum(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return ~(sum + (sum >> 16));
}

struct frame {
	struct ether_header ethernet;
	struct iphdr ip;
	struct tcphdr tcp;
} __attribute__((packed));

static void make_frame(struct frame *frame, int port)
{
	struct iphdr ip = {
		.version = 4, .ihl = 5, .tot_len = htons(sizeof(ip) + sizeof(struct tcphdr)), .ttl = 64, .protocol = IPPROTO_TCP,
		.saddr = inet_addr("10.1.0.2"), .daddr = inet_addr("10.1.0.1"),
	};
	struct tcphdr tcp = { .source = htons(port), .dest = htons(80), .seq = htonl(port), .doff = 5, .syn = 1, .window = htons(1024) };
	uint32_t pseudo = htons(IPPROTO_TCP) + htons(sizeof(tcp));

	ip.check = checksum(sum_of(&ip, sizeof(ip), 0));
	tcp.check = checksum(sum_of(&tcp, sizeof(tcp), sum_of(&ip.saddr, 8, pseudo)));
	*frame = (struct frame){
		{ { 2, 0, 0, 0, 1, 1 }, { 2, 0, 0, 0, 1, 2 }, htons(ETHERTYPE_IP) }, ip, tcp,
	};
}

/* Sends until the time is over. */
static void send_packets(long seconds)
{
	static struct frame frames[FLOWS];
	struct mmsghdr messages[BATCH] = { 0 };
	struct iovec parts[BATCH];
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = if_nametoindex("eth0"), .sll_protocol = htons(ETH_P_IP) };
	int fd = socket(AF_PACKET, SOCK_RAW, 0);
	time_t last = time(NULL) + seconds;
	cpu_set_t first;

	CPU_ZERO(&first);
	CPU_SET(0, &first);
	if (sched_setaffinity(0, sizeof(first), &first) < 0)
		fail("sched_setaffinity");
	if (fd < 0 || bind(fd, (void *)&to, sizeof(to)) < 0)
		fail("a packet socket");
	for (int i = 0; i < FLOWS; i++)
		make_frame(&frames[i], 10000 + i);
	for (int at = 0; time(NULL) < last; at = (at + BATCH) % FLOWS) {
		for (int i = 0; i < BATCH; i++) {
			parts[i] = (struct iovec){ &frames[at + i], sizeof(frames[0]) };
			messages[i].msg_hdr = (struct msghdr){ .msg_iov = &parts[i], .msg_iovlen = 1 };
		}
		if (sendmmsg(fd, messages, BATCH, 0) < 0 && errno != ENOBUFS)
			fail("sendmmsg");
	}
}

/* A process in a network namespace of its own, which goes on when something is written to the pipe. */
static pid_t start_namespace(int *to, void (*work)(long), long argument)
{
	int ready[2], go[2];
	char byte;
	pid_t pid;

	if (pipe(ready) < 0 || pipe(go) < 0)
		fail("pipe");
	pid = fork();
	if (pid < 0)
		fail("fork");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (unshare(CLONE_NEWNET) < 0)
			fail("unshare");
		close(go[1]);
		if (write(ready[1], "", 1) != 1 || read(go[0], &byte, 1) != 1)
			exit(1);
		work(argument);
		exit(0);
	}
	close(ready[1]);
	close(go[0]);
	if (read(ready[0], &byte, 1) != 1)
		fail("a namespace");
	*to = go[1];
	return pid;
}

static void be_client(long seconds)
{
	run("ip link set veth0 name eth0");
	run("ip link set eth0 address 02:00:00:00:01:02");
	run("ip addr add 10.1.0.2/24 dev eth0");
	run("ip link set eth0 up");
	/* Carrier takes a moment. */
	sleep(1);
	send_packets(seconds);
}

static void be_server(long unused)
{
	(void)unused;
	run("ip link set veth0 name eth0");
	run("ip addr add 10.2.0.2/24 dev eth0");
	run("ip link set eth0 up");
	run("ip route add default via 10.2.0.1");
	pause();
}

/* A pair of devices, of which the end that the kernel names goes into a namespace. */
static void add_pair(const char *name, pid_t pid)
{
	run("ip link add %s type veth", name);
	run("ip link set veth0 netns %d", pid);
	run("ip link set %s up", name);
}

int main(int argc, char **argv)
{
	long seconds = argc == 2 ? strtol(argv[1], NULL, 0) : 0, last = sysconf(_SC_NPROCESSORS_ONLN) - 1;
	int to_client, to_server, status;
	pid_t client, server;
	char mask[32];

	if (seconds <= 0) {
		fprintf(stderr, "usage: storm SECONDS\n");
		return 2;
	}
	load_modules();
	if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		fail("unshare");
	/* The files of this namespace's devices. */
	if (mount("sysfs", "/sys", "sysfs", 0, NULL) < 0)
		fail("/sys");
	client = start_namespace(&to_client, be_client, seconds);
	server = start_namespace(&to_server, be_server, 0);
	add_pair("client", client);
	add_pair("server", server);
	run("brctl addbr br0");
	run("ip link set br0 address " BRIDGE_MAC);
	run("brctl addif br0 client");
	run("ip addr add 10.1.0.1/24 dev br0");
	run("ip link set br0 up");
	run("ip addr add 10.2.0.1/24 dev server");
	write_file("/proc/sys/net/ipv4/ip_forward", "1");
	write_file("/proc/sys/net/bridge/bridge-nf-call-iptables", "1");
	snprintf(mask, sizeof(mask), "%lx", 1L << last);
	write_file("/sys/class/net/client/queues/rx-0/rps_cpus", mask);
	add_dnat("10.2.0.2");
	if (write(to_server, "", 1) != 1 || write(to_client, "", 1) != 1)
		fail("a namespace");
	if (waitpid(client, &status, 0) < 0 || status != 0)
		return 1;
	kill(server, SIGKILL);
	return 0;
}

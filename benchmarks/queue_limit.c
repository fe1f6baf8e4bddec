/*
 * The limit of engine_speed.py: the arithmetic of a FIFO lock and nothing else. No page tables, no counters, no
 * histogram; what remains is what any program must do that goes through the faults one by one.
 *
 * Each vCPU repeats: leave the guest (outside), wait for the lock in order of arrival, take it over (hand_over), work
 * inside it (hold, or region_hold for the first access to each 2M region), and go through with the access (plain).
 * The queue of arrivals is a ring kept sorted by inserting from the back, as in core/sim/state/event_queue.py.
 */
#include <stdint.h>
#include <stdlib.h>

struct arrival {
	int64_t time;
	int64_t vcpu;
};

/* Returns the time at which the last vCPU is done, -1 without memory; *waited gets all waits and hand-overs added up. */
int64_t queue_limit(int64_t vcpus, int64_t accesses, const int64_t *starts, int64_t outside, int64_t hand_over,
		    int64_t hold, int64_t region_hold, int64_t plain, int64_t *waited)
{
	int64_t room = 1, first = 0, end = 0, free_at = 0, last = 0, sum = 0;
	while (room <= vcpus)
		room *= 2;
	struct arrival *ring = malloc(room * sizeof(*ring));
	int64_t *done = calloc(vcpus, sizeof(*done));
	if (!ring || !done) {
		free(ring);
		free(done);
		return -1;
	}
	for (int64_t vcpu = 0; vcpu < vcpus; vcpu++)
		ring[end++] = (struct arrival){ starts[vcpu] + outside, vcpu };
	while (first != end) {
		struct arrival next = ring[first++ & (room - 1)];
		int64_t granted = next.time > free_at ? next.time : free_at;
		int64_t number = done[next.vcpu]++;
		sum += granted - next.time + hand_over;
		free_at = granted + hand_over + (number & 511 ? hold : region_hold);
		if (number + 1 == accesses) {
			last = free_at + plain;
			continue;
		}
		next.time = free_at + plain + outside;
		int64_t place = end++;
		for (; place != first && ring[(place - 1) & (room - 1)].time > next.time; place--)
			ring[place & (room - 1)] = ring[(place - 1) & (room - 1)];
		ring[place & (room - 1)] = next;
	}
	free(ring);
	free(done);
	*waited = sum;
	return last;
}

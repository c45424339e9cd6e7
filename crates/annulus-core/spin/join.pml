/*
 * Subscribers: join, lease and licence, holding and giving back, leaving, death, reaping, takeover.
 *
 * Three subscribers share two slots; a producer publishes over three laps and is followed by another if it dies.
 * Whoever has joined is in `kept`, and every store of the producer's is held against that: the property is checked
 * where it would be broken, not only where a reader would notice. Written from docs/protocol.md: FIND_TAIL to
 * LOOK_AT_HEADER are `Cursor::join` and what stands around it; LOOK_FIRST to GRANT are `Writer::extend`, BLOCKED to
 * UNLOCK the reaper, TAKE_OVER to ANNOUNCE_AGAIN `Writer::take_over`, and the rest of the producer `publish`.
 *
 * Shown: no record that a subscriber holds or has yet to read is overwritten; after joining it misses none, and sees
 * each once, in order, with its payload; sequences neither repeat nor skip over a takeover; the header at the tail is
 * zero; nobody waits for ever for what nobody will do (no invalid end state): a dead reader's slot is freed by the
 * producer that it blocks, or by the joiner that needs it.
 * Not shown: weak memory beyond the two store buffers (that is loom's); that a try which may be repeated succeeds in
 * the end; sleeping: who waits here is woken by whatever changes its condition. What is behind the tail is
 * written in one step, for no subscriber sees it; observe.pml has the steps. The kernel frees a dead process's locks.
 *
 * RUN reader_dies: -DREADERS=3 -DREADER_KILLS=1 -DLEAVES=0 -DHELD=1; 14000000 states
 * RUN reader_leaves: -DREADERS=3 -DLEAVES=1 -DHELD=1; 1900000 states
 * RUN producer_dies: -DREADERS=3 -DPRODUCER_KILLS=1 -DLEAVES=0 -DHELD=2; 980000 states
 * DEEP all_of_it: -DREADERS=2 -DPRODUCER_KILLS=1 -DREADER_KILLS=1 -DLEAVES=1 -DHELD=2; 7000000 states
 * DEEP two_producers_die: -DREADERS=2 -DPRODUCER_KILLS=2 -DLEAVES=1 -DHELD=2; 1000000 states
 *
 * FAULT lease_silent: the producer looks without having announced; -DREADERS=2
 * FAULT lease_unfenced: no fence between the lease and the look at the cursors; -DREADERS=2
 * FAULT cursor_unfenced: no fence between the joiner's cursor and its look at the lease; -DREADERS=2
 * FAULT join_once: the joiner does not look at the lease; -DREADERS=2
 * FAULT grant_blind: the producer grants what it wishes; -DREADERS=2
 * FAULT takeover_lease: the next producer takes the lease for the licence; -DREADERS=2 -DPRODUCER_KILLS=1
 * FAULT takeover_trusts: the next producer does not walk from the tail; -DREADERS=2 -DPRODUCER_KILLS=1
 * FAULT tail_first: the tail is stored before the sequence at it; -DREADERS=2
 * FAULT header_kept: the header behind a record is not zeroed; -DREADERS=2
 * FAULT reap_unlocked: a reaper frees a slot without its lock; -DREADERS=2
 * FAULT reap_never: a dead subscriber's slot stays; -DREADERS=2 -DREADER_KILLS=1
 * FAULT leave_unlocked: a late owner: who leaves unlocks its slot before it frees it; -DREADERS=3 -DLEAVES=1 -DHELD=1
 */

#define SLOTS 2
#define OTHERS_JOIN
#ifndef READERS
#define READERS 3
#endif
#ifndef PRODUCER_KILLS
#define PRODUCER_KILLS 0
#endif
#ifndef READER_KILLS
#define READER_KILLS 0
#endif
#ifndef LEAVES
#define LEAVES 0
#endif
#ifndef HELD
#define HELD 2
#endif
#define nobody_in_the_way() (!IN_THE_WAY(0) && !IN_THE_WAY(1))

#include "ring.inc"

byte cursor_buffer[READERS] = EMPTY;
byte slot_of[READERS];
byte started;                    /* readers are alike: they come in their order */
byte leaves = LEAVES;

#define FLUSH_CURSOR(r) if :: cursor_buffer[r] != EMPTY -> cursor[slot_of[r]] = cursor_buffer[r]; cursor_buffer[r] = EMPTY :: else fi

/* The records that it holds: the oldest, as it is when it is given back. */
#define OLDEST (sequence - held)

proctype subscriber(byte me) {
	byte position, sequence, held;
	do
	:: atomic { reader_at[me] == OUT && started == me && (lock[0] == 0 || lock[1] == 0) ->
		/* The first slot whose lock is free: whatever its words say, nobody lives there. */
		started++;
		if
		:: lock[0] == 0 -> slot_of[me] = 0
		:: else -> slot_of[me] = 1
		fi;
		lock[slot_of[me]] = me + 1;
		reader_at[me] = CLEAN_SLOT
	   }
	:: atomic { reader_at[me] == CLEAN_SLOT -> cursor[slot_of[me]] = FREE; reader_at[me] = FIND_TAIL }
	:: atomic { reader_at[me] == FIND_TAIL -> position = tail; reader_at[me] = STORE_CURSOR }
	:: atomic { reader_at[me] == STORE_CURSOR ->
		cursor_buffer[me] = position;
#ifndef FAULT_cursor_unfenced
		FLUSH_CURSOR(me);
#endif
		reader_at[me] = LOOK_AT_LEASE
	   }
	:: atomic { reader_at[me] == LOOK_AT_LEASE ->
		if
#ifndef FAULT_join_once
		:: lease > position + CAP -> reader_at[me] = FIND_TAIL
#endif
		:: else -> kept[me] = position; reader_at[me] = LOOK_AT_PUBLISHED
		fi
	   }
	:: atomic { reader_at[me] == LOOK_AT_PUBLISHED -> sequence = published; reader_at[me] = LOOK_AT_HEADER }
	:: atomic { reader_at[me] == LOOK_AT_HEADER ->
		if
		:: mem[position % CAP] != 0 -> sequence = SEQ_OF(mem[position % CAP])
		:: else
		fi;
		assert(IS_BOUNDARY(position) && sequence == SEQ(position));
		position = 0;
		reader_at[me] = READ
	   }
	:: atomic { reader_at[me] == READ && held < HELD && mem[POS(sequence) % CAP] != 0 ->
		assert(mem[POS(sequence) % CAP] == HEADER(sequence));
		sequence++; held++
	   }
	:: atomic { reader_at[me] == READ && held > 0 ->
		assert(mem[POS(OLDEST) % CAP] == HEADER(OLDEST));
		assert(LEN(OLDEST) == 1 || mem[(POS(OLDEST) + 1) % CAP] == PAYLOAD(OLDEST));
		held--;
		FLUSH_CURSOR(me); /* NEVER REACHED but with a fault: nothing waits in a buffer */
		kept[me] = POS(OLDEST);
		cursor[slot_of[me]] = kept[me]
	   }
	:: atomic { reader_at[me] == READ && held == 0 && leaves > 0 -> leaves--; sequence = 0; reader_at[me] = LEAVE_SLOT }
	:: atomic { reader_at[me] == READ && held == 0 && closed -> reader_at[me] = LAST_LOOK }
	:: atomic { reader_at[me] == LAST_LOOK ->
		if
		:: mem[POS(sequence) % CAP] == 0 -> assert(sequence == LAST); sequence = 0; reader_at[me] = LEAVE_SLOT
		:: else -> reader_at[me] = READ
		fi
	   }
#ifdef FAULT_leave_unlocked
	:: atomic { reader_at[me] == LEAVE_SLOT -> kept[me] = FREE; lock[slot_of[me]] = 0; reader_at[me] = UNLOCK_SLOT }
	:: atomic { reader_at[me] == UNLOCK_SLOT -> FLUSH_CURSOR(me); cursor[slot_of[me]] = FREE; reader_at[me] = GONE }
#else
	:: atomic { reader_at[me] == LEAVE_SLOT ->
		FLUSH_CURSOR(me); /* NEVER REACHED but with a fault: nothing waits in a buffer */
		kept[me] = FREE; cursor[slot_of[me]] = FREE; reader_at[me] = UNLOCK_SLOT }
	:: atomic { reader_at[me] == UNLOCK_SLOT -> lock[slot_of[me]] = 0; slot_of[me] = 0; reader_at[me] = GONE }
#endif
	:: atomic { reader_at[me] == GONE -> position = 0; sequence = 0; held = 0; break }
	od
}

/* Stores reach memory at any moment. Only where a fault leaves out a fence is there anything to do. */
proctype drain() {
end:
	do
	:: atomic { lease_buffer != EMPTY -> FLUSH_LEASE } /* NEVER REACHED but with a fault: nothing waits in a buffer */
	:: atomic { cursor_buffer[0] != EMPTY -> FLUSH_CURSOR(0) } /* NEVER REACHED but with a fault: nothing waits in a buffer */
	:: atomic { cursor_buffer[1] != EMPTY -> FLUSH_CURSOR(1) } /* NEVER REACHED but with a fault: nothing waits in a buffer */
#if READERS > 2
	:: atomic { cursor_buffer[2] != EMPTY -> FLUSH_CURSOR(2) } /* NEVER REACHED but with a fault: nothing waits in a buffer */
#endif
	od
} /* NEVER REACHED: it waits for stores */

inline kill_reader(r) {
	atomic {
		reader_kills > 0 && (lock[0] == r + 1 || lock[1] == r + 1) ->
		reader_kills--; reader_at[r] = GONE; kept[r] = FREE;
		FLUSH_CURSOR(r); /* NEVER REACHED but with a fault: nothing waits in a buffer */
		lock[slot_of[r]] = 0; slot_of[r] = 0
	}
}

proctype death() {
end:
	do
	:: kill_producer()
	:: kill_reader(0)
	:: kill_reader(1)
#if READERS > 2
	:: kill_reader(2)
#endif
	od
} /* NEVER REACHED: it may always come */

init {
	atomic {
		run producer(); run drain(); run death();
		run subscriber(0); run subscriber(1);
#if READERS > 2
		run subscriber(2)
#endif
	}
}

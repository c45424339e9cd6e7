/*
 * Observers and a copying subscriber on a ring that evicts, against a producer that laps them and may die.
 *
 * Reader 0 has a slot: it joins, copies, validates, and moves its cursor; the producer that it blocks may give it up.
 * The others are observers, whom nobody sees. Each finds its place at the tail or at an anchor, at first and whenever
 * it was lapped. READ to VALIDATE_EMPTY are `Observer::look` and `take`; OUT to CHECK are `find`, `tail` and `join`;
 * LEAVE to LEAVE_AGAIN_SECOND leave the anchors; see docs/protocol.md, Observing. An observer takes any anchor that is
 * valid, where the library takes the oldest. Every store behind the tail is a step of its own.
 *
 * Shown: nothing torn or overwritten is believed, a payload's zero is no empty place and a payload that looks like a
 * header is no record; each record is taken once and in order or told as lost, exactly; a copying subscriber that was
 * not given up at a look loses nothing; all see the end, also after a takeover.
 * Not shown: weak memory (loom's), the newest record, retaining, and the 32 bits of a sequence.
 *
 * RUN copying: -DREADERS=1 -DPRODUCER_KILLS=1 -DREADER_KILLS=1; 600000 states
 * RUN observer: -DFIRST=1 -DREADERS=2 -DPRODUCER_KILLS=2; 195000 states
 * DEEP observer_and_copying: -DREADERS=2; 6000000 states
 * DEEP two_observers: -DFIRST=1 -DREADERS=3 -DPRODUCER_KILLS=1; 14000000 states
 *
 * FAULT copy_trusted: a copy is believed without validating; -DFIRST=1 -DREADERS=2
 * FAULT empty_trusted: a zero is taken for an empty place without validating; -DFIRST=1 -DREADERS=2
 * FAULT place_trusted: a place at the tail is believed without validating; -DFIRST=1 -DREADERS=2
 * FAULT grant_late: the licence is stored after the bytes; -DFIRST=1 -DREADERS=2
 * FAULT anchor_first: an anchor is stored before its sequence; -DFIRST=1 -DREADERS=2
 * FAULT anchors_few: a place in the table of anchors is used again a lap later; -DFIRST=1 -DREADERS=2
 */

#define SLOTS 1
#ifndef READERS
#define READERS 2
#endif
#ifndef FIRST
#define FIRST 0           /* 1: nobody has a slot */
#endif
#ifndef PRODUCER_KILLS
#define PRODUCER_KILLS 0
#endif
#ifndef READER_KILLS
#define READER_KILLS 0
#endif
#define ANCHORED
#define EVICTS
#define SEEN_BEHIND_THE_TAIL
#define nobody_in_the_way() (!IN_THE_WAY(0))
#include "ring.inc"

#define PASSED(p) (licence > (p) + CAP)
#define HAS_SLOT (me == 0)

/* Goes on at the boundary `position`, which it believes to be that of `found`. */
inline place_at_boundary() {
	assert(IS_BOUNDARY(position) && found == SEQ(position));
	/* What is lost is the difference: each lost record is told once, and none that comes. */
	assert(found >= sequence);
	sequence = found; found = 0; position = 0; seen = 0;
	reader_at[me] = READ
}

inline try_again() {
	found = 0; position = 0; seen = 0; by_anchor = false;
	reader_at[me] = OUT
}

/* Reader 0 is a copying subscriber, whose slot the producer waits for until it gives it up; the others observe. */
proctype reader(byte me) {
	byte position, found, sequence, seen, word;
	bool by_anchor, ending;
	if
	:: HAS_SLOT -> atomic { lock[0] == 0 -> lock[0] = me + 1 }
	:: else
	fi;
	do
	/* Finds a place: at first, and when it was lapped. */
	:: atomic { reader_at[me] == OUT -> by_anchor = false; position = tail; reader_at[me] = (HAS_SLOT -> STORE_CURSOR : LOOK_AT_PUBLISHED) }
	:: atomic { reader_at[me] == OUT ->
		/* Whichever anchor: the oldest is one of them. */
		by_anchor = true;
		if
		:: seen = 0
		:: seen = 1
#if ANCHORS > 2
		:: seen = 2
		:: seen = 3
#endif
		fi;
		position = anchor[seen];
		if
		:: position == FREE -> try_again()
		:: else -> reader_at[me] = LOOK_AT_ANCHOR
		fi
	   }
	:: atomic { reader_at[me] == LOOK_AT_ANCHOR -> found = anchor_sequence[seen]; seen = 0; reader_at[me] = CHECK_ANCHOR }
	:: atomic { reader_at[me] == CHECK_ANCHOR ->
		if
		:: position > tail || PASSED(position) -> try_again()
		:: else ->
			assert(found == SEQ(position));
			if
			:: HAS_SLOT -> reader_at[me] = STORE_CURSOR
			:: else -> place_at_boundary()
			fi
		fi
	   }
	:: atomic { reader_at[me] == STORE_CURSOR -> kept[me] = FREE; cursor[0] = position; reader_at[me] = LOOK_AT_LEASE }
	:: atomic { reader_at[me] == LOOK_AT_LEASE ->
		if
		:: lease > position + CAP -> try_again()
		:: else -> kept[me] = position; reader_at[me] = (by_anchor -> CHECK : LOOK_AT_PUBLISHED)
		fi
	   }
	:: atomic { reader_at[me] == LOOK_AT_PUBLISHED -> found = published; reader_at[me] = LOOK_AT_HEADER }
	:: atomic { reader_at[me] == LOOK_AT_HEADER ->
		if
		:: mem[position % CAP] != 0 -> found = SEQ_OF(mem[position % CAP])
		:: else
		fi;
		reader_at[me] = CHECK
	   }
	:: atomic { reader_at[me] == CHECK ->
		if
#ifndef FAULT_place_trusted
		:: PASSED(position) -> assert(kept[me] == FREE); try_again()
#endif
		:: else -> by_anchor = false; place_at_boundary()
		fi
	   }

	/* Waits until there is something to tell, and looks. */
	:: atomic { reader_at[me] == READ && (mem[POS(sequence) % CAP] != 0 || PASSED(POS(sequence))) ->
		ending = false;
		seen = mem[POS(sequence) % CAP];
		if
		:: seen / 2 != sequence + 1 -> reader_at[me] = VALIDATE_EMPTY
		:: else ->
			if
			:: LEN_OF(seen) == 2 -> reader_at[me] = COPY
			:: else -> reader_at[me] = VALIDATE
			fi
		fi
	   }
	:: atomic { reader_at[me] == READ && closed -> ending = true; reader_at[me] = LAST_LOOK }
	:: atomic { reader_at[me] == LAST_LOOK ->
		seen = mem[POS(sequence) % CAP];
		if
		:: seen == 0 -> reader_at[me] = VALIDATE_EMPTY
		:: else -> reader_at[me] = READ; ending = false; seen = 0
		fi
	   }
	:: atomic { reader_at[me] == COPY -> word = mem[(POS(sequence) + 1) % CAP]; reader_at[me] = VALIDATE }
	:: atomic { reader_at[me] == VALIDATE ->
		if
#ifndef FAULT_copy_trusted
		:: PASSED(POS(sequence)) -> assert(kept[me] == FREE); reader_at[me] = OUT
#endif
		:: else ->
			assert(seen == HEADER(sequence));
			assert(LEN(sequence) == 1 || word == PAYLOAD(sequence));
			sequence++;
			reader_at[me] = (HAS_SLOT -> HOLD : READ)
		fi;
		seen = 0; word = 0
	   }
	:: atomic { reader_at[me] == VALIDATE_EMPTY ->
		if
#ifndef FAULT_empty_trusted
		:: PASSED(POS(sequence)) -> assert(kept[me] == FREE); reader_at[me] = OUT
#endif
		:: else ->
			assert(seen == 0);
			if
			:: ending -> assert(sequence == LAST); reader_at[me] = LEAVE_SLOT
			:: else -> reader_at[me] = READ /* NEVER REACHED but with a fault: it looks when there is something */
			fi
		fi;
		seen = 0; ending = false
	   }
	:: atomic { reader_at[me] == HOLD ->
		if
		:: kept[me] != FREE -> kept[me] = POS(sequence)
		:: else
		fi;
		cursor[0] = POS(sequence);
		reader_at[me] = READ
	   }
	:: atomic { reader_at[me] == LEAVE_SLOT ->
		if
		:: HAS_SLOT -> kept[me] = FREE; cursor[0] = FREE; reader_at[me] = UNLOCK_SLOT
		:: else -> reader_at[me] = GONE
		fi
	   }
	:: atomic { reader_at[me] == UNLOCK_SLOT -> lock[0] = 0; reader_at[me] = GONE }
	:: atomic { reader_at[me] == GONE -> position = 0; found = 0; sequence = 0; seen = 0; word = 0; by_anchor = false; ending = false; break }
	od
}

proctype death() {
end:
	do
	:: kill_producer()
	:: atomic {
		reader_kills > 0 && lock[0] == 1 ->
		reader_kills--; reader_at[0] = GONE; kept[0] = FREE; lock[0] = 0
	   }
	od
} /* NEVER REACHED: it may always come */

init {
	atomic {
		run producer(); run death();
#if FIRST < 1
		run reader(0);
#endif
#if READERS > 1
		run reader(1);
#endif
#if READERS > 2
		run reader(2)
#endif
	}
}

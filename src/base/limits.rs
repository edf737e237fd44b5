//! Every bound of the program: its value, its unit, and what happens beyond it.
//!
//! A name ends in its unit. A bound that a test or a reader looks for stands here and nowhere else.

/// Longest line that is kept whole, bytes. A longer one is cut here, with the defect `truncated`;
/// its rest is dropped and counted. 1 MiB holds any stack trace; Docker cuts at 16 KiB.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// Most fields of a record; the rest stays in the raw line, with the defect `too-many-fields`.
pub const FIELDS_MAX: usize = 1_000;

/// Deepest nesting that is flattened; what lies deeper is kept as its compact JSON text.
pub const NESTING_MAX: usize = 64;

/// Most items of an array in a field; a longer one is kept as its compact JSON text.
pub const ARRAY_ITEMS_MAX: usize = 4_096;

/// Longest field name, bytes; longer ones are cut.
pub const FIELD_NAME_BYTES_MAX: usize = 512;

/// Longest host, app, tag or pid, bytes; longer ones are cut. They become dictionary entries.
pub const NAME_BYTES_MAX: usize = 1_024;

/// How far a sender's clock may be ahead before its record bears `future-time`, seconds: a day,
/// since a wrong time zone is at most 14 h off.
pub const FUTURE_SKEW_MAX_S: i64 = 86_400;

/// How far ahead a date without a year may lie before it is taken for the year before, seconds: a
/// week, since clocks are seldom further ahead, and what is 51 weeks old seldom comes without a year.
pub const YEAR_AHEAD_MAX_S: i64 = 7 * 86_400;

/// Times before this bear `ancient-time`: 1990-01-01, before which no log was kept in these formats.
pub const ANCIENT_TIME_S: i64 = 631_152_000;

/// Digits of an octet count (RFC 6587 3.4.1); a longer or larger count closes the connection.
pub const OCTET_COUNT_DIGITS_MAX: usize = 9;

/// Largest octet count, bytes: beyond it the frame is no log line but an attack or another protocol.
pub const FRAME_BYTES_MAX: usize = 32 << 20;

/// A connection's buffer that has grown beyond this is given back after its frame, bytes: thousands
/// of idle connections that once sent a long line must not keep a megabyte each.
pub const FRAME_BUFFER_BYTES_KEPT: usize = 16 << 10;

/// Longest word before a colon that is read as a syslog tag, bytes; a longer one is message.
pub const SYSLOG_TAG_BYTES_MAX: usize = 255;

/// Longest text in brackets that is read as a process id, bytes; with a longer one it is no tag.
pub const SYSLOG_PID_BYTES_MAX: usize = 128;

/// Largest window of a zstd frame, as a power of two, bytes: RFC 8878 asks every decoder for 8 MiB,
/// `zstd --long` writes 128 MiB. A frame that wants more is refused.
pub const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Largest forward message (one msgpack array on the wire), bytes. fluent-bit's chunks are ~2 MiB.
pub const FORWARD_MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Most records of one forward message, or of one JSON body: entries of a few bytes would else grow
/// to a hundred times their size in memory. Real chunks have some ten thousand.
pub const MESSAGE_RECORDS_MAX: usize = 1 << 20;

/// What the records of one forward message may weigh in memory, bytes; beyond it the message is
/// refused. Holds a chunk of [`UNPACKED_BYTES_MAX`] of usual records, which weigh some four times
/// what they are on the wire.
pub const MESSAGE_WEIGHT_BYTES_MAX: usize = 1 << 30;

/// Largest PING of a forward handshake, bytes: who has not shown the key yet gets no memory.
pub const HANDSHAKE_BYTES_MAX: usize = 4 << 10;

/// Longest chunk id of a forward message, bytes, since it is sent back; real ones have 24.
pub const CHUNK_ID_BYTES_MAX: usize = 1 << 10;

/// Deepest nesting of a msgpack message; one deeper closes the connection. Far above
/// [`NESTING_MAX`], for what is too deep to be flattened is still kept as text.
pub const MSGPACK_NESTING_MAX: usize = 20_000;

/// Most bytes that a compressed body or chunk may unpack to: beyond it, refused as a bomb.
pub const UNPACKED_BYTES_MAX: usize = 256 << 20;

/// Largest body of `POST /api/v1/ingest` as it comes over the wire, bytes; beyond it 413.
pub const BODY_BYTES_MAX: usize = 64 << 20;

/// Rows of a chunk, the unit of access (engine.md 2.3).
pub const CHUNK_ROWS_MAX: usize = 65_536;

/// Text of a chunk, bytes, where rows are long.
pub const CHUNK_BYTES_MAX: usize = 16 << 20;

/// Bytes that a column of a chunk may unpack to: 64 times a chunk's text. Only damage says more.
pub const COLUMN_BYTES_MAX: usize = 1 << 30;

/// Columns within columns: a prefix, a prediction, texts cut again. Only damage nests deeper.
pub const COLUMN_DEPTH_MAX: usize = 8;

/// Letter runs of a chunk that its index keeps; one with more is never pruned by words. Usual chunks
/// have some thousands, and lines of random words would fill memory and disk.
pub const CHUNK_WORDS_MAX: usize = 1 << 16;

/// Entries of a segment's dictionary of one place; with more different values it has none there.
pub const DICTIONARY_ENTRIES_MAX: usize = 1 << 20;

/// Templates that are counted in a segment; lines of further ones are kept whole (trap T5).
pub const TEMPLATES_MAX: usize = 1 << 16;

/// Text of all templates of a segment, bytes; lines of further ones are kept whole.
pub const TEMPLATE_BYTES_MAX: usize = 16 << 20;

/// Pools that the slots of a segment's templates are filed into; further slots share one.
pub const POOLS_MAX: usize = 1 << 14;

/// Shapes of fields in a segment; the fields of records of further shapes are kept as bytes.
pub const SHAPES_MAX: usize = 1 << 14;

/// What the shapes of a segment and their names may weigh, bytes; beyond it the same.
pub const SHAPE_BYTES_MAX: usize = 16 << 20;

/// Ways in which fields of the same names may be told as slots of the same template; beyond it
/// they are told as columns.
pub const SHAPE_VARIANTS_MAX: usize = 8;

/// Chunks of a segment: 256 MiB of text in chunks of one line each would be more than are read.
pub const SEGMENT_CHUNKS_MAX: usize = 1 << 16;

/// Text of a merged segment at most, bytes: dictionaries gain little beyond (engine.md 1). Sealed ones
/// are so small that [`MERGE_FAN`] of them fit into one: a byte is rewritten once.
pub const MERGE_TEXT_BYTES_MAX: u64 = 256 << 20;

/// Values of lines that a merge has in memory at once, some 6 bytes each; a place that has more is
/// written in several goes, each of which reads the rows' templates again.
pub const MERGE_VALUES_MAX: usize = 3 << 20;

/// What the lines may weigh that a merge cuts anew since they were kept whole, bytes, about. Beyond
/// it they stay as they are.
pub const MERGE_RECORDS_BYTES_MAX: usize = 32 << 20;

/// How long closing waits for a merge that computes, milliseconds; then its work is given up.
pub const MERGE_CLOSE_MS: u64 = 500;

/// File of a merged segment at most, bytes, where text packs badly.
pub const MERGE_FILE_BYTES_MAX: u64 = 64 << 20;

/// Neighbours of like smallness that are merged before their day is over: so many small segments
/// of one size there are at most, and a byte is rewritten once for each power of it in size.
pub const MERGE_FAN: usize = 16;

/// Weight of the live part at which it is sealed, bytes, where the configuration sets none. It is
/// in memory twice while it is sealed, beside what the sealer makes of it: this is what most of the
/// memory of an ingesting server follows from. Some 12 MiB of text; merging makes the segments large.
pub const LIVE_BYTES_MAX: usize = 32 << 20;

/// Records of one piece of the live part. A snapshot shares whole pieces and copies the pointers
/// of the last, so this bounds what a query under load costs before it starts.
pub const LIVE_CHUNK_ROWS_MAX: usize = 4_096;

/// Full live parts that may wait to be sealed, the one that is being sealed included; beyond it the
/// log's writer waits, and with it every sender, which bounds memory.
pub const FROZEN_PARTS_MAX: usize = 1;

/// Payload of a log entry at which the next one is begun, bytes.
pub const LOG_ENTRY_BYTES: usize = 4 << 20;

/// Largest payload of a log entry that is read back, bytes; a larger length is damage. Far above
/// [`LOG_ENTRY_BYTES`] and the largest record, whose fields full of arrays have some 50 MiB.
pub const LOG_ENTRY_BYTES_MAX: usize = 512 << 20;

/// Weight of the batches that one sync serves, bytes; the next ones wait for the next sync.
pub const LOG_GROUP_BYTES_MAX: usize = 8 << 20;

/// Places behind damage in a log file that are tried as the next entry, so that lines made to look
/// like entries cost no more than this.
pub const LOG_RESYNC_TRIES_MAX: u32 = 1_000;

/// Pairs of host and app that are counted each for itself; what comes later is counted together.
pub const SOURCES_MAX: usize = 20_000;

/// Bytes of opened segments, indexes and chunks that all queries share.
pub const CACHE_BYTES_MAX: usize = 128 << 20;

/// Longest letter run that the chunk index keeps, bytes; a chunk with a longer one is never pruned
/// by words.
pub const INDEX_WORD_BYTES_MAX: usize = 256;

/// A chunk index is kept that weighs one part in so many of the records that it spares reading, at
/// most; a larger one is left out, and prunes nothing. Usual ones weigh one in fifty.
pub const INDEX_SHARE_MIN: usize = 20;

/// An index of so many bytes is kept whatever it is beside.
pub const INDEX_BYTES_FREE: usize = 4 << 10;

/// The filter is kept that weighs one part in so many of a segment's records, at most; a larger one
/// is left out, and prunes nothing. Usual ones weigh one in forty.
pub const FILTER_SHARE_MIN: usize = 8;

/// Answers of one chunk index that are remembered.
pub const INDEX_ANSWERS_MAX: usize = 256;

/// How much later than a day's end, on the clock of arrival, a record may still stand in a segment
/// with the next day's, seconds: batches overtake each other at midnight.
pub const LATE_ARRIVAL_S: i64 = 600;

/// Pause before sealing is tried again after it failed, seconds; doubled up to a minute.
pub const SEAL_RETRY_S: u64 = 1;

/// Most records that one `search` answers (contract 4).
pub const SEARCH_LIMIT_MAX: usize = 10_000;

/// Longest query text, bytes (query.md 5).
pub const QUERY_BYTES_MAX: usize = 16 << 10;

/// Deepest query (query.md 5).
pub const QUERY_DEPTH_MAX: usize = 64;

/// Most terms of a query (query.md 5).
pub const QUERY_TERMS_MAX: usize = 1_000;

/// Time budget of a query, seconds; not for export and tail (query.md 5).
pub const QUERY_SECONDS_MAX: u64 = 10;

/// Most TCP connections of one listener; one more is closed at once and counted.
pub const CONNECTIONS_MAX: usize = 4_096;

/// How long a listener rests after the system refused it something (descriptors, memory),
/// milliseconds: the next try would fail at once again, and a person would not notice this.
pub const BACK_OFF_MS: u64 = 100;

/// Receive buffer asked of the kernel for datagrams, bytes; what comes beyond it is dropped there,
/// and counted from what the kernel says. Holds half a second of 30 MB/s.
pub const UDP_BUFFER_BYTES: usize = 16 << 20;

/// Largest datagram, bytes: 65,535 less its headers, so nothing is ever cut.
pub const DATAGRAM_BYTES_MAX: usize = 65_536;

/// Datagrams that make one batch at most.
pub const DATAGRAMS_AT_ONCE_MAX: usize = 1_024;

/// Bytes of datagrams at which a batch ends, so that other connections of the thread have their turn
/// after some milliseconds also where datagrams are large.
pub const DATAGRAM_BYTES_AT_ONCE_MAX: usize = 1 << 20;

/// Senders of datagrams whose names are kept at once; beyond it they are made anew.
pub const PEERS_KNOWN_MAX: usize = 4_096;

/// How long a handshake (TLS, forward) may take, seconds; then the connection is closed, counted.
pub const HANDSHAKE_SECONDS_MAX: u64 = 15;

/// How long one message of a stream may take from its first byte to its last, seconds. Then what
/// is there of a syslog line is kept as it is, and the connection is closed, counted: a client
/// that sends a byte a minute does not hold its place for ever. Between messages there is no limit.
/// A body of `POST /api/v1/ingest` has the same time, then it is answered 408, counted.
pub const MESSAGE_SECONDS_MAX: u64 = 300;

/// Bytes of all bodies of `POST /api/v1/ingest` that are on their way in; beyond it 429, counted.
pub const BODIES_BYTES_MAX: usize = 256 << 20;

/// How much of a body of lines is decoded and handed in at once, bytes; what one line has beyond it
/// goes with it. Its records weigh some three times as much, and should stay in a core's cache.
pub const INGEST_PIECE_BYTES: usize = 256 << 10;

/// How many records of a body are handed in at once. A piece of usual lines is one batch, kept or
/// refused as one.
pub const INGEST_BATCH_RECORDS: usize = 65_536;

/// Bodies of `POST /api/v1/ingest` that are unpacked and decoded at once; others wait. Each holds up
/// to [`UNPACKED_BYTES_MAX`].
pub const BODIES_AT_ONCE_MAX: usize = 4;

/// Bytes of forward messages above 256 KiB that are not whole yet, of all connections; one that
/// asks for more is closed, counted, and sends again.
pub const FORWARD_HELD_BYTES_MAX: usize = 256 << 20;

/// How long a sender may refuse to read its answer, seconds; then the connection is closed, counted.
pub const ANSWER_SECONDS_MAX: u64 = 60;

/// Records that wait for the log; beyond it senders that can wait do, the others are dropped, counted.
pub const QUEUE_RECORDS_MAX: usize = 131_072;

/// Weight of what waits for the log, bytes: a second or two of datagrams while sealing makes the log
/// wait. Senders that can wait get a quarter of it.
pub const QUEUE_BYTES_MAX: usize = 64 << 20;

/// How far the clock may be ahead of where it should be before retention doubts it, seconds: a day, so
/// that a leap costs a day of the oldest records at most.
pub const CLOCK_LEAP_MAX_S: u64 = 86_400;

/// How long a clock that has leapt must stand so before retention believes it, seconds of running
/// time, where it leapt further than that: a week, long enough for somebody to read the warning.
pub const CLOCK_DOUBT_MAX_S: u64 = 7 * 86_400;

/// How often retention looks at the clock, seconds; the oldest records go an hour late at most.
pub const RETENTION_LOOK_S: u64 = 3_600;

/// How old the time may be that retention noted for the next start, seconds.
pub const RETENTION_NOTE_S: u64 = 43_200;

/// What `on_full = "drop-oldest"` makes free at least, bytes, whatever `min_free` says: room for the
/// log, a segment being sealed, the catalogue.
pub const DROP_FREE_BYTES_MIN: u64 = 64 << 20;

/// Bytes that must stay free on the disk; below it nothing is accepted (engine.md, retention).
pub const DISK_FREE_FLOOR_BYTES: u64 = 1 << 30;

/// Queries that are worked on at once; one more waits, and is refused when its time budget ends
/// before a place is free. Each keeps a core and some opened chunks.
pub const QUERIES_AT_ONCE_MAX: usize = 8;

/// Largest form of a query call, bytes: a query of the longest text, every byte of it escaped.
pub const FORM_BYTES_MAX: usize = 4 * QUERY_BYTES_MAX;

/// Most buckets of a histogram that one may ask for; more than a screen has columns.
pub const BUCKETS_MAX: usize = 2_000;

/// Live readers at once; one more is refused (503).
pub const TAILS_MAX: usize = 256;

/// Records that wait for one live reader; beyond it they are skipped, counted, and it is told.
pub const TAIL_QUEUE_RECORDS_MAX: usize = 10_000;

/// Weight of what waits for one live reader, bytes.
pub const TAIL_QUEUE_BYTES_MAX: usize = 16 << 20;

/// Silence after which a live reader gets a comment, seconds, so that proxies keep the line open
/// (contract 4).
pub const TAIL_COMMENT_SECONDS: u64 = 15;

/// How long answers may go on after the server was told to stop, seconds; the rest of the ten that
/// contract 1 allows is for the store's last sync.
pub const STOP_SECONDS_MAX: u64 = 5;

/// Bytes of text or column that are packed as one zstd frame: longer windows gain little, and a
/// damaged length cannot ask for more than this (engine.md 2.3).
pub const PACK_FRAME_BYTES_MAX: usize = 1 << 20;
/// Weight of the records of one page, bytes; a page ends there however few they are, and its
/// cursor goes on. Ten thousand lines of 1 MiB would not fit any memory.
pub const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Matching records that a resuming live reader gets at once from the store, and how many make one
/// piece of its stream.
pub const TAIL_PIECE_RECORDS: usize = 500;

/// How long a resuming live reader looks through the store before other queries get its place,
/// milliseconds.
pub const TAIL_STEP_MS: u64 = 200;

/// What a live reader looks at before others get their turn, and the size at which a piece of its
/// stream is sent, bytes.
pub const TAIL_PIECE_BYTES: usize = 256 << 10;

/// How long a browser that showed the token stays signed in, seconds: a year, since the cookie ends
/// with the token anyway.
pub const COOKIE_SECONDS_MAX: u32 = 31_536_000;

/// Different wrong tokens that one address may show in a minute; then 429 until it is over, also
/// for the right one. Enough for a person who mistypes, too few to search with.
pub const GUESSES_A_MINUTE_MAX: u32 = 30;

/// Addresses whose wrong tokens are counted at once; those of further ones are not, for a minute.
pub const GUESSERS_KNOWN_MAX: usize = 4_096;

/// Largest head of an HTTP request, bytes; beyond it 431. Holds the longest query, every byte of
/// it escaped, and a browser's cookies.
pub const HTTP_HEAD_BYTES_MAX: usize = 128 << 10;

/// How long a connection may take for the head of its next request, seconds, silence between two
/// requests included; then it is closed, counted.
pub const HTTP_HEAD_SECONDS_MAX: u64 = 60;

/// How long the form of a call may take to arrive, seconds; then 408.
pub const FORM_SECONDS_MAX: u64 = 30;

/// How long a client may not take what was sent to it, seconds; then its connection is cut off.
/// Live readers that are only slow are told what they missed; this is for those that stopped.
pub const HTTP_STALL_SECONDS_MAX: u64 = 60;

/// Lines of one page of the viewer: more than a screen holds, few enough to be drawn at once.
pub const PAGE_LINES: usize = 100;

/// Most bars of the viewer's histogram: some 11 px each on a desk, 3 px on a phone; a little above
/// 120, so that an hour and the minute after it have bars of half a minute.
pub const PAGE_BARS: usize = 130;
/// Most regular expressions of a query, and the bytes that each may take compiled (and again for
/// its cache): beyond it the query is an error. Together they bound what a query can hold.
pub const QUERY_REGEXES_MAX: usize = 32;

/// See [`QUERY_REGEXES_MAX`]; RE2's own default is 8 MiB for one.
pub const REGEX_BYTES_MAX: usize = 2 << 20;

/// Most buckets of a histogram; a finer interval is refused. A screen has fewer columns.
pub const HISTOGRAM_BUCKETS_MAX: usize = 10_000;

/// Most values that a histogram tells apart while it counts; the others are counted as `other`.
pub const GROUPS_MAX: usize = 1_000_000;

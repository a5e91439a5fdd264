CREATE TABLE departures (
	rater TEXT    NOT NULL PRIMARY KEY,
	fate  TEXT    NOT NULL,
	at    INTEGER NOT NULL
) WITHOUT ROWID, STRICT;
CREATE INDEX departures_at ON departures (at);

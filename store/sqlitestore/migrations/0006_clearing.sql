-- Deleted contents that still have rows in ratings, which nobody sees. There is hardly ever one.
CREATE TABLE clearing (content TEXT NOT NULL PRIMARY KEY) WITHOUT ROWID, STRICT;

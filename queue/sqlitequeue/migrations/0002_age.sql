-- When a message was published, in microseconds of Unix time. Those that wait already count from now.
ALTER TABLE queue_messages ADD COLUMN published INTEGER NOT NULL DEFAULT 0;

UPDATE queue_messages SET published = unixepoch() * 1000000;

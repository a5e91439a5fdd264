-- The contents whose title_key and terms are those of an earlier version: the first bytes of the title, and whole words.
CREATE TABLE khodnevis.content_rebuilds (content_id text COLLATE "C" PRIMARY KEY);
INSERT INTO khodnevis.content_rebuilds (content_id) SELECT id FROM khodnevis.contents;

-- Canonical names have the Persian yeh for alef maksura, and digits of ASCII. A user whose name is taken in this form keeps the
-- other one; nobody else gets either.
WITH changed AS (
	SELECT DISTINCT ON (now) former, now FROM (
		SELECT canonical AS former, translate(canonical, 'ى۰۱۲۳۴۵۶۷۸۹٠١٢٣٤٥٦٧٨٩', 'ی01234567890123456789') AS now
		FROM khodnevis.usernames) n
	WHERE former <> now ORDER BY now, former
), reserved AS (
	INSERT INTO khodnevis.usernames (canonical) SELECT now FROM changed ON CONFLICT DO NOTHING RETURNING canonical
)
UPDATE khodnevis.users u SET canonical = c.now FROM changed c JOIN reserved r ON r.canonical = c.now WHERE u.canonical = c.former;

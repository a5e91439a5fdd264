-- The contents whose title_key and terms are those of an earlier version: the first bytes of the title, and whole words.
CREATE TABLE content_rebuilds (num INTEGER PRIMARY KEY) STRICT;
INSERT INTO content_rebuilds (num) SELECT num FROM contents;

-- Canonical names have the Persian yeh for alef maksura, and digits of ASCII. A user whose name is taken in this form keeps the
-- other one; nobody else gets either.
CREATE TABLE former_names AS WITH RECURSIVE folded (former, now, i) AS (
	SELECT canonical, replace(canonical, 'ى', 'ی'), 1 FROM usernames
	UNION ALL
	SELECT former, replace(now, substr('۰۱۲۳۴۵۶۷۸۹٠١٢٣٤٥٦٧٨٩', i, 1), (i - 1) % 10), i + 1 FROM folded WHERE i <= 20
) SELECT min(former) AS former, now FROM folded WHERE i = 21 AND former <> now AND now NOT IN (SELECT canonical FROM usernames)
	GROUP BY now;
INSERT INTO usernames (canonical) SELECT now FROM former_names;
UPDATE users SET canonical = (SELECT now FROM former_names WHERE former = canonical)
	WHERE canonical IN (SELECT former FROM former_names);
DROP TABLE former_names;

-- Which database this is. There is one row, which a restored dump has too.
CREATE TABLE khodnevis.installation (
	one boolean PRIMARY KEY DEFAULT true CHECK (one),
	id  text COLLATE "C" NOT NULL
);
INSERT INTO khodnevis.installation (id) VALUES (replace(gen_random_uuid()::text, '-', ''));

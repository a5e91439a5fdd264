// Package searchpairs has titles and searches, and whether the search finds the title. The tests of
// package content and of the stores compare with it.
package searchpairs

// Pair is a title and a search.
type Pair struct {
	Title, Search string
	Found         bool
}

// Joiner is a zero-width non-joiner, which no editor shows.
const Joiner = "\u200c"

// All are the pairs.
var All = []Pair{
	// English, and other languages in Latin letters.
	{"Stalker", "stalk", true},
	{"stalker", "STALKER", true},
	{"Stalker", "st", false},
	{"Stalker", "talker", false},
	{"The Office", "offices", false},
	{"Café Müller", "cafe muller", true},
	{"Cafe Muller", "Cafe\u0301 Mu\u0308ller", true},
	{"C++ Primer", "C++", true},
	{"C Primer", "C++", false},
	{"C# in Depth", "c#", true},
	{"C in Depth", "C#", false},
	{"👍 Good", "👍", true},
	{"Good👍🏽👍", "good 👍", true},
	{"Good", "good 👍", false},
	{"ﬁne ﬂow", "fine flow", true},
	{"Ｆｕｌｌ　ｗｉｄｔｈ", "full width", true},
	{"Die Straße", "STRASSE", true},
	{"İstanbul", "istanbul", true},
	{"Room 237", "room ۲۳۷", true},
	{"Room 237", "23", false},
	{"Rock & Roll", "rock&roll", true},
	{"Rock and Roll", "rock & roll", false},
	// Persian.
	{"کتاب" + Joiner + "های خوب", "کتاب های", true},
	{"کتاب" + Joiner + "های خوب", "کتابهای", true},
	{"کتاب" + Joiner + "های خوب", "کتابه", true},
	{"کتاب" + Joiner + "های خوب", "اب", false},
	{"کتاب های خوب", "کتاب" + Joiner + "های", true},
	{"کتاب های خوب", "کتابهای خوب", true},
	{"کتابهای خوب", "کتاب" + Joiner + "های", true},
	{"کتابهای خوب", "کتاب های", false},
	{"نمی" + Joiner + "خواسته" + Joiner + "اند", "نمی خواسته اند", true},
	{"نمی خواسته اند", "نمی" + Joiner + "خواسته" + Joiner + "اند", true},
	{"قسمت ۱۲", "قسمت 12", true},
	{"قسمت 12", "قسمت ١٢", true},
	{"قسمت ١٢", "۱۲", true},
	{"قسمت ۱۲۳", "۱۲", false},
	{"\u064a\u0643 \u0643تاب", "یک کتاب", true},
	{"یک کتاب", "\u064a\u0643", true},
	{"آب و آینه", "اب اینه", true},
	{"کـــار", "کار", true},
	{"خانه\u0654 دوست", "خانه دوست", true},
	{"خان\u06c0 دوست", "خانه", true},
	{"مسئول", "مسیول", true},
	{"گربه", "کربه", false},
	{"درخت", "درختان", false},
	// Arabic.
	{"مُدَرِّس", "مدرس", true},
	{"مدرس", "مُدَرِّس", true},
	{"أحمد", "احمد", true},
	{"احمد", "أحمد", true},
	{"الإسلام", "الاسلام", true},
	{"قُرْآن", "قران", true},
	{"ٱلرحمن", "الرحمن", true},
	{"مدرسة", "مدرسه", true},
	{"مدرسه", "مدرسة", true},
	{"مدرسة", "مدرس", true},
	{"مدرس", "مدرسة", false},
	{"موسى", "موسی", true},
	{"عرب\u064a", "عرب\u0649", true},
	{"\u0643تاب", "\u06a9تاب", true},
	{"الكتاب", "كتاب", false},
	{"ﻛﺘﺎﺏ", "كتاب", true},
	{"الفصل ٣", "الفصل 3", true},
	{"الفصل 3", "الفصل ۳", true},
	{"مسؤول", "مسئول", false},
	{"مكتبة", "متكبة", false},
}

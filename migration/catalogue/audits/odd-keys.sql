-- Keys that tools or people stumble over, by kind
-- Kinds with trap = 1 make usual tools fail, or store the object under another name.
SELECT k.name AS kind, k.trap, count(*) AS objects, sum(o.size) AS bytes, min(o.key) AS example, k.meaning
FROM objects o CROSS JOIN odd_kinds k
WHERE o.odd <> 0 AND o.odd & k.bit
GROUP BY k.bit ORDER BY k.trap DESC, objects DESC

BEGIN TRANSACTION;
CREATE TABLE documents (
	seq INTEGER NOT NULL, 
	id TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	cell TEXT NOT NULL, 
	subject TEXT NOT NULL, 
	body TEXT NOT NULL, 
	version_id INTEGER NOT NULL, 
	run TEXT NOT NULL, 
	taken DOUBLE NOT NULL, 
	PRIMARY KEY (seq), 
	UNIQUE (id), 
	FOREIGN KEY(version_id) REFERENCES versions (id)
);
INSERT INTO "documents" VALUES(1,'d-1','confirmation','osv:x86_64-qemu-ramfs-all','boot.wall  osv:x86_64-qemu-ramfs-all 000000000000..000000000000','{"confirmed": true, "pairs": 5, "judgement": {}}',20,'run-20',1780003600.0);
INSERT INTO "documents" VALUES(2,'d-2','load','c','redis','{"seconds": [1, 2.5, null]}',1,'run-1',1780003600.0);
CREATE TABLE environments (
	id INTEGER NOT NULL, 
	content TEXT NOT NULL, 
	host TEXT NOT NULL, 
	cpu TEXT NOT NULL, 
	cpus INTEGER NOT NULL, 
	governor TEXT NOT NULL, 
	accelerator TEXT NOT NULL, 
	emulator TEXT NOT NULL, 
	host_kernel TEXT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (content)
);
INSERT INTO "environments" VALUES(1,'0c9ac1d48c1de79ea9ba213fd63ad682896ffee5198faf3654ec2a9dd63b59dd','runner-1','a cpu \ud83d\ude00',4,'performance','kvm','QEMU 7.2.22','6.1.0');
INSERT INTO "environments" VALUES(2,'2277c874c617672ace410b1c222693624b86a46379341e25240f740fd307667e','other','a cpu \ud83d\ude00',4,'performance','kvm','QEMU 7.2.22','6.1.0');
CREATE TABLE history_schema (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT history_schema_pkc PRIMARY KEY (version_num)
);
INSERT INTO "history_schema" VALUES('0001');
CREATE TABLE judged (
	seq INTEGER NOT NULL, 
	id TEXT NOT NULL, 
	suite TEXT NOT NULL, 
	cell TEXT NOT NULL, 
	test TEXT NOT NULL, 
	outcome TEXT NOT NULL, 
	expected BOOLEAN NOT NULL, 
	reason TEXT NOT NULL, 
	seconds DOUBLE NOT NULL, 
	version_id INTEGER NOT NULL, 
	environment_id INTEGER NOT NULL, 
	load DOUBLE NOT NULL, 
	run TEXT NOT NULL, 
	taken DOUBLE NOT NULL, 
	PRIMARY KEY (seq), 
	UNIQUE (id), 
	FOREIGN KEY(version_id) REFERENCES versions (id), 
	FOREIGN KEY(environment_id) REFERENCES environments (id)
);
INSERT INTO "judged" VALUES(1,'j-1','unit','osv:x86_64-qemu-ramfs-all','tst-a.so','passed',1,'',1.5,1,1,0.25,'run-1',1780090000.0);
INSERT INTO "judged" VALUES(2,'j-2','unit','osv:x86_64-qemu-ramfs-all','tst-a.so','passed',1,'',1.5,2,1,0.25,'run-2',1780176400.0);
INSERT INTO "judged" VALUES(3,'j-3','unit','osv:x86_64-qemu-ramfs-all','tst-a.so','passed',1,'',1.5,3,1,0.25,'run-3',1780262800.0);
INSERT INTO "judged" VALUES(4,'j-4','unit','osv:x86_64-qemu-ramfs-all','tst-a.so','passed',1,'',1.5,4,1,0.25,'run-4',1780349200.0);
INSERT INTO "judged" VALUES(5,'j-5','unit','osv:x86_64-qemu-ramfs-all','tst-a.so','passed',1,'',1.5,5,1,0.25,'run-5',1780435600.0);
INSERT INTO "judged" VALUES(6,'j-6','unit','osv:x86_64-qemu-ramfs-all','tst-a.so','passed',1,'',1.5,6,1,0.25,'run-6',1780522000.0);
INSERT INTO "judged" VALUES(7,'j-7','unit','osv:x86_64-qemu-ramfs-all','tst-a.so','crashed',0,'abort: \u0000\u001b[31m\ud800',1.5,7,1,0.25,'run-7',1780608400.0);
INSERT INTO "judged" VALUES(8,'j-8','unit','osv:x86_64-qemu-ramfs-all','tst-a.so','passed',1,'',1.5,8,1,0.25,'run-8',1780694800.0);
INSERT INTO "judged" VALUES(9,'j-9','unit','osv:x86_64-qemu-ramfs-all','tst-a.so','passed',1,'',1.5,9,1,0.25,'run-9',1780781200.0);
INSERT INTO "judged" VALUES(10,'j-10','unit','osv:x86_64-qemu-ramfs-all','tst-a.so','passed',1,'',1.5,10,1,0.25,'run-10',1780867600.0);
INSERT INTO "judged" VALUES(11,'j-11','unit','osv:x86_64-qemu-ramfs-all','tst-a.so','passed',1,'',1.5,11,1,0.25,'run-11',1780954000.0);
INSERT INTO "judged" VALUES(12,'j-12','unit','osv:x86_64-qemu-ramfs-all','tst-a.so','passed',1,'',1.5,12,1,0.25,'run-12',1781040400.0);
INSERT INTO "judged" VALUES(13,'j-13','unit','osv:x86_64-qemu-ramfs-all','tst-a.so','passed',1,'',1.5,13,1,0.25,'run-13',1781126800.0);
INSERT INTO "judged" VALUES(14,'j-14','unit','osv:x86_64-qemu-ramfs-all','tst-a.so','passed',1,'',1.5,14,1,0.25,'run-14',1781213200.0);
INSERT INTO "judged" VALUES(15,'j-15','unit','osv:x86_64-qemu-ramfs-all','tst-a.so','passed',1,'',1.5,15,1,0.25,'run-15',1781299600.0);
INSERT INTO "judged" VALUES(16,'j-16','unit','osv:x86_64-qemu-ramfs-all','tst-a.so','passed',1,'',1.5,16,1,0.25,'run-16',1781386000.0);
INSERT INTO "judged" VALUES(17,'j-17','unit','osv:x86_64-qemu-ramfs-all','tst-a.so','passed',1,'',1.5,17,1,0.25,'run-17',1781472400.0);
INSERT INTO "judged" VALUES(18,'j-18','unit','osv:x86_64-qemu-ramfs-all','tst-a.so','passed',1,'',1.5,18,1,0.25,'run-18',1781558800.0);
INSERT INTO "judged" VALUES(19,'j-19','unit','osv:x86_64-qemu-ramfs-all','tst-a.so','passed',1,'',1.5,19,1,0.25,'run-19',1781645200.0);
INSERT INTO "judged" VALUES(20,'j-20','unit','osv:x86_64-qemu-ramfs-all','tst-a.so','passed',1,'',1.5,20,1,0.25,'run-20',1781731600.0);
INSERT INTO "judged" VALUES(21,'j-21','unit','osv:x86_64-qemu-ramfs-all','tst-a.so','passed',1,'',1.5,21,1,0.25,'run-21',1781818000.0);
INSERT INTO "judged" VALUES(22,'j-22','unit','osv:x86_64-qemu-ramfs-all','tst-a.so','passed',1,'',1.5,22,1,0.25,'run-22',1781904400.0);
INSERT INTO "judged" VALUES(23,'j-23','unit','osv:x86_64-qemu-ramfs-all','tst-a.so','passed',1,'',1.5,23,1,0.25,'run-23',1781990800.0);
INSERT INTO "judged" VALUES(24,'j-24','unit','osv:x86_64-qemu-ramfs-all','tst-a.so','passed',1,'',1.5,24,1,0.25,'run-24',1782077200.0);
CREATE TABLE metrics (
	id INTEGER NOT NULL, 
	content TEXT NOT NULL, 
	name TEXT NOT NULL, 
	unit TEXT NOT NULL, 
	better TEXT NOT NULL, 
	exact BOOLEAN NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (content)
);
INSERT INTO "metrics" VALUES(1,'4f7b6e23fa0ff0fbb8e3a08bf2bafdba0770e865a8c556fa4552fe547d547a7b','boot.instructions','instructions','lower',1);
INSERT INTO "metrics" VALUES(2,'0c3342668566a0877048694540d503b8824291315c1077fa0424a84f00d1ce60','boot.wall','s','lower',0);
INSERT INTO "metrics" VALUES(3,'d50021df348dafe02f092021a2c1eb7c9ea5227826ea49090c94a2beaace5cc6','app.redis.get.throughput','requests/s','higher',0);
CREATE TABLE samples (
	seq INTEGER NOT NULL, 
	id TEXT NOT NULL, 
	metric_id INTEGER NOT NULL, 
	value DOUBLE NOT NULL, 
	cell TEXT NOT NULL, 
	subject TEXT NOT NULL, 
	version_id INTEGER NOT NULL, 
	environment_id INTEGER NOT NULL, 
	load DOUBLE NOT NULL, 
	run TEXT NOT NULL, 
	taken DOUBLE NOT NULL, 
	spread DOUBLE NOT NULL, 
	PRIMARY KEY (seq), 
	UNIQUE (id), 
	FOREIGN KEY(metric_id) REFERENCES metrics (id), 
	FOREIGN KEY(version_id) REFERENCES versions (id), 
	FOREIGN KEY(environment_id) REFERENCES environments (id)
);
INSERT INTO "samples" VALUES(1,'s-boot-instructions-1',1,30647460.0,'osv:x86_64-qemu-ramfs-all','',1,1,0.25,'run-1',1780090000.0,0.0);
INSERT INTO "samples" VALUES(2,'s-boot-wall-1',2,0.505153,'osv:x86_64-qemu-ramfs-all','',1,1,0.25,'run-1',1780090000.0,0.0);
INSERT INTO "samples" VALUES(3,'s-app-redis-get-throughput-1',3,9130.5,'osv:x86_64-qemu-ramfs-all','redis',1,1,0.25,'run-1',1780090000.0,0.0);
INSERT INTO "samples" VALUES(4,'s-boot-instructions-2',1,30647460.0,'osv:x86_64-qemu-ramfs-all','',2,1,0.25,'run-2',1780176400.0,0.0);
INSERT INTO "samples" VALUES(5,'s-boot-wall-2',2,0.500265,'osv:x86_64-qemu-ramfs-all','',2,1,0.25,'run-2',1780176400.0,0.0);
INSERT INTO "samples" VALUES(6,'s-app-redis-get-throughput-2',3,8931.2,'osv:x86_64-qemu-ramfs-all','redis',2,1,0.25,'run-2',1780176400.0,0.0);
INSERT INTO "samples" VALUES(7,'s-boot-instructions-3',1,30647460.0,'osv:x86_64-qemu-ramfs-all','',3,1,0.25,'run-3',1780262800.0,0.0);
INSERT INTO "samples" VALUES(8,'s-boot-wall-3',2,0.495631,'osv:x86_64-qemu-ramfs-all','',3,1,0.25,'run-3',1780262800.0,0.0);
INSERT INTO "samples" VALUES(9,'s-app-redis-get-throughput-3',3,9002.8,'osv:x86_64-qemu-ramfs-all','redis',3,1,0.25,'run-3',1780262800.0,0.0);
INSERT INTO "samples" VALUES(10,'s-boot-instructions-4',1,30647460.0,'osv:x86_64-qemu-ramfs-all','',4,1,0.25,'run-4',1780349200.0,0.0);
INSERT INTO "samples" VALUES(11,'s-boot-wall-4',2,0.495912,'osv:x86_64-qemu-ramfs-all','',4,1,0.25,'run-4',1780349200.0,0.0);
INSERT INTO "samples" VALUES(12,'s-app-redis-get-throughput-4',3,8870.7,'osv:x86_64-qemu-ramfs-all','redis',4,1,0.25,'run-4',1780349200.0,0.0);
INSERT INTO "samples" VALUES(13,'s-boot-instructions-5',1,30647460.0,'osv:x86_64-qemu-ramfs-all','',5,1,0.25,'run-5',1780435600.0,0.0);
INSERT INTO "samples" VALUES(14,'s-boot-wall-5',2,0.500797,'osv:x86_64-qemu-ramfs-all','',5,1,0.25,'run-5',1780435600.0,0.0);
INSERT INTO "samples" VALUES(15,'s-app-redis-get-throughput-5',3,9012.0,'osv:x86_64-qemu-ramfs-all','redis',5,1,0.25,'run-5',1780435600.0,0.0);
INSERT INTO "samples" VALUES(16,'s-boot-instructions-6',1,30647460.0,'osv:x86_64-qemu-ramfs-all','',6,1,0.25,'run-6',1780522000.0,0.0);
INSERT INTO "samples" VALUES(17,'s-boot-wall-6',2,0.502186,'osv:x86_64-qemu-ramfs-all','',6,1,0.25,'run-6',1780522000.0,0.0);
INSERT INTO "samples" VALUES(18,'s-app-redis-get-throughput-6',3,8917.7,'osv:x86_64-qemu-ramfs-all','redis',6,1,0.25,'run-6',1780522000.0,0.0);
INSERT INTO "samples" VALUES(19,'s-boot-instructions-7',1,30647460.0,'osv:x86_64-qemu-ramfs-all','',7,1,0.25,'run-7',1780608400.0,0.0);
INSERT INTO "samples" VALUES(20,'s-boot-wall-7',2,0.50002,'osv:x86_64-qemu-ramfs-all','',7,1,0.25,'run-7',1780608400.0,0.0);
INSERT INTO "samples" VALUES(21,'s-app-redis-get-throughput-7',3,8994.2,'osv:x86_64-qemu-ramfs-all','redis',7,1,0.25,'run-7',1780608400.0,0.0);
INSERT INTO "samples" VALUES(22,'s-boot-instructions-8',1,30647460.0,'osv:x86_64-qemu-ramfs-all','',8,1,0.25,'run-8',1780694800.0,0.0);
INSERT INTO "samples" VALUES(23,'s-boot-wall-8',2,0.493977,'osv:x86_64-qemu-ramfs-all','',8,1,0.25,'run-8',1780694800.0,0.0);
INSERT INTO "samples" VALUES(24,'s-app-redis-get-throughput-8',3,9048.4,'osv:x86_64-qemu-ramfs-all','redis',8,1,0.25,'run-8',1780694800.0,0.0);
INSERT INTO "samples" VALUES(25,'s-boot-instructions-9',1,30647460.0,'osv:x86_64-qemu-ramfs-all','',9,1,0.25,'run-9',1780781200.0,0.0);
INSERT INTO "samples" VALUES(26,'s-boot-wall-9',2,0.501283,'osv:x86_64-qemu-ramfs-all','',9,1,0.25,'run-9',1780781200.0,0.0);
INSERT INTO "samples" VALUES(27,'s-app-redis-get-throughput-9',3,9215.0,'osv:x86_64-qemu-ramfs-all','redis',9,1,0.25,'run-9',1780781200.0,0.0);
INSERT INTO "samples" VALUES(28,'s-boot-instructions-10',1,30647460.0,'osv:x86_64-qemu-ramfs-all','',10,1,0.25,'run-10',1780867600.0,0.0);
INSERT INTO "samples" VALUES(29,'s-boot-wall-10',2,0.500812,'osv:x86_64-qemu-ramfs-all','',10,1,0.25,'run-10',1780867600.0,0.0);
INSERT INTO "samples" VALUES(30,'s-app-redis-get-throughput-10',3,8987.0,'osv:x86_64-qemu-ramfs-all','redis',10,1,0.25,'run-10',1780867600.0,0.0);
INSERT INTO "samples" VALUES(31,'s-boot-instructions-11',1,30647460.0,'osv:x86_64-qemu-ramfs-all','',11,1,0.25,'run-11',1780954000.0,0.0);
INSERT INTO "samples" VALUES(32,'s-boot-wall-11',2,0.504931,'osv:x86_64-qemu-ramfs-all','',11,1,0.25,'run-11',1780954000.0,0.0);
INSERT INTO "samples" VALUES(33,'s-app-redis-get-throughput-11',3,9017.9,'osv:x86_64-qemu-ramfs-all','redis',11,1,0.25,'run-11',1780954000.0,0.0);
INSERT INTO "samples" VALUES(34,'s-boot-instructions-12',1,30647460.0,'osv:x86_64-qemu-ramfs-all','',12,1,0.25,'run-12',1781040400.0,0.0);
INSERT INTO "samples" VALUES(35,'s-boot-wall-12',2,0.503636,'osv:x86_64-qemu-ramfs-all','',12,1,0.25,'run-12',1781040400.0,0.0);
INSERT INTO "samples" VALUES(36,'s-app-redis-get-throughput-12',3,8967.1,'osv:x86_64-qemu-ramfs-all','redis',12,1,0.25,'run-12',1781040400.0,0.0);
INSERT INTO "samples" VALUES(37,'s-boot-instructions-13',1,30647460.0,'osv:x86_64-qemu-ramfs-all','',13,1,0.25,'run-13',1781126800.0,0.0);
INSERT INTO "samples" VALUES(38,'s-boot-wall-13',2,0.500873,'osv:x86_64-qemu-ramfs-all','',13,1,0.25,'run-13',1781126800.0,0.0);
INSERT INTO "samples" VALUES(39,'s-app-redis-get-throughput-13',3,9092.2,'osv:x86_64-qemu-ramfs-all','redis',13,1,0.25,'run-13',1781126800.0,0.0);
INSERT INTO "samples" VALUES(40,'s-boot-instructions-14',1,30647460.0,'osv:x86_64-qemu-ramfs-all','',14,1,0.25,'run-14',1781213200.0,0.0);
INSERT INTO "samples" VALUES(41,'s-boot-wall-14',2,0.502785,'osv:x86_64-qemu-ramfs-all','',14,1,0.25,'run-14',1781213200.0,0.0);
INSERT INTO "samples" VALUES(42,'s-app-redis-get-throughput-14',3,9011.6,'osv:x86_64-qemu-ramfs-all','redis',14,1,0.25,'run-14',1781213200.0,0.0);
INSERT INTO "samples" VALUES(43,'s-boot-instructions-15',1,30647460.0,'osv:x86_64-qemu-ramfs-all','',15,1,0.25,'run-15',1781299600.0,0.0);
INSERT INTO "samples" VALUES(44,'s-boot-wall-15',2,0.495671,'osv:x86_64-qemu-ramfs-all','',15,1,0.25,'run-15',1781299600.0,0.0);
INSERT INTO "samples" VALUES(45,'s-app-redis-get-throughput-15',3,9040.1,'osv:x86_64-qemu-ramfs-all','redis',15,1,0.25,'run-15',1781299600.0,0.0);
INSERT INTO "samples" VALUES(46,'s-boot-instructions-16',1,30647460.0,'osv:x86_64-qemu-ramfs-all','',16,1,0.25,'run-16',1781386000.0,0.0);
INSERT INTO "samples" VALUES(47,'s-boot-wall-16',2,0.500307,'osv:x86_64-qemu-ramfs-all','',16,1,0.25,'run-16',1781386000.0,0.0);
INSERT INTO "samples" VALUES(48,'s-app-redis-get-throughput-16',3,9064.8,'osv:x86_64-qemu-ramfs-all','redis',16,1,0.25,'run-16',1781386000.0,0.0);
INSERT INTO "samples" VALUES(49,'s-boot-instructions-17',1,30647460.0,'osv:x86_64-qemu-ramfs-all','',17,1,0.25,'run-17',1781472400.0,0.0);
INSERT INTO "samples" VALUES(50,'s-boot-wall-17',2,0.500865,'osv:x86_64-qemu-ramfs-all','',17,1,0.25,'run-17',1781472400.0,0.0);
INSERT INTO "samples" VALUES(51,'s-app-redis-get-throughput-17',3,9097.9,'osv:x86_64-qemu-ramfs-all','redis',17,1,0.25,'run-17',1781472400.0,0.0);
INSERT INTO "samples" VALUES(52,'s-boot-instructions-18',1,30647460.0,'osv:x86_64-qemu-ramfs-all','',18,1,0.25,'run-18',1781558800.0,0.0);
INSERT INTO "samples" VALUES(53,'s-boot-wall-18',2,0.499794,'osv:x86_64-qemu-ramfs-all','',18,1,0.25,'run-18',1781558800.0,0.0);
INSERT INTO "samples" VALUES(54,'s-app-redis-get-throughput-18',3,9018.2,'osv:x86_64-qemu-ramfs-all','redis',18,1,0.25,'run-18',1781558800.0,0.0);
INSERT INTO "samples" VALUES(55,'s-boot-instructions-19',1,30647460.0,'osv:x86_64-qemu-ramfs-all','',19,1,0.25,'run-19',1781645200.0,0.0);
INSERT INTO "samples" VALUES(56,'s-boot-wall-19',2,0.502667,'osv:x86_64-qemu-ramfs-all','',19,1,0.25,'run-19',1781645200.0,0.0);
INSERT INTO "samples" VALUES(57,'s-app-redis-get-throughput-19',3,8902.2,'osv:x86_64-qemu-ramfs-all','redis',19,1,0.25,'run-19',1781645200.0,0.0);
INSERT INTO "samples" VALUES(58,'s-boot-instructions-20',1,30947460.0,'osv:x86_64-qemu-ramfs-all','',20,1,0.25,'run-20',1781731600.0,0.0);
INSERT INTO "samples" VALUES(59,'s-boot-wall-20',2,0.498393,'osv:x86_64-qemu-ramfs-all','',20,1,0.25,'run-20',1781731600.0,0.0);
INSERT INTO "samples" VALUES(60,'s-app-redis-get-throughput-20',3,8955.0,'osv:x86_64-qemu-ramfs-all','redis',20,1,0.25,'run-20',1781731600.0,0.0);
INSERT INTO "samples" VALUES(61,'s-boot-instructions-21',1,30947460.0,'osv:x86_64-qemu-ramfs-all','',21,1,0.25,'run-21',1781818000.0,0.0);
INSERT INTO "samples" VALUES(62,'s-boot-wall-21',2,0.507922,'osv:x86_64-qemu-ramfs-all','',21,1,0.25,'run-21',1781818000.0,0.0);
INSERT INTO "samples" VALUES(63,'s-app-redis-get-throughput-21',3,8991.6,'osv:x86_64-qemu-ramfs-all','redis',21,1,0.25,'run-21',1781818000.0,0.0);
INSERT INTO "samples" VALUES(64,'s-boot-instructions-22',1,30947460.0,'osv:x86_64-qemu-ramfs-all','',22,1,0.25,'run-22',1781904400.0,0.0);
INSERT INTO "samples" VALUES(65,'s-boot-wall-22',2,0.502609,'osv:x86_64-qemu-ramfs-all','',22,1,0.25,'run-22',1781904400.0,0.0);
INSERT INTO "samples" VALUES(66,'s-app-redis-get-throughput-22',3,9055.7,'osv:x86_64-qemu-ramfs-all','redis',22,1,0.25,'run-22',1781904400.0,0.0);
INSERT INTO "samples" VALUES(67,'s-boot-instructions-23',1,30947460.0,'osv:x86_64-qemu-ramfs-all','',23,1,0.25,'run-23',1781990800.0,0.0);
INSERT INTO "samples" VALUES(68,'s-boot-wall-23',2,0.498877,'osv:x86_64-qemu-ramfs-all','',23,1,0.25,'run-23',1781990800.0,0.0);
INSERT INTO "samples" VALUES(69,'s-app-redis-get-throughput-23',3,8860.4,'osv:x86_64-qemu-ramfs-all','redis',23,1,0.25,'run-23',1781990800.0,0.0);
INSERT INTO "samples" VALUES(70,'s-boot-instructions-24',1,30947460.0,'osv:x86_64-qemu-ramfs-all','',24,1,0.25,'run-24',1782077200.0,0.0);
INSERT INTO "samples" VALUES(71,'s-boot-wall-24',2,0.503859,'osv:x86_64-qemu-ramfs-all','',24,1,0.25,'run-24',1782077200.0,0.0);
INSERT INTO "samples" VALUES(72,'s-app-redis-get-throughput-24',3,8963.4,'osv:x86_64-qemu-ramfs-all','redis',24,1,0.25,'run-24',1782077200.0,0.0);
INSERT INTO "samples" VALUES(73,'s-linux',2,0.2,'linux:x86_64-qemu-rofs-all','redis',25,2,0.25,'run-1',1780003600.0,0.5);
CREATE TABLE versions (
	id INTEGER NOT NULL, 
	content TEXT NOT NULL, 
	"commit" TEXT NOT NULL, 
	digest TEXT NOT NULL, 
	described TEXT NOT NULL, 
	committed DOUBLE NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (content)
);
INSERT INTO "versions" VALUES(1,'be41546c677420d0ec52572041519be4c0d61fbc4010f570438d899f3bcd4681','0000000000000000000000000000000000000001','0000000000000000000000000000000000000000000000000000000000000001','v0.57.0-1-g0000000000000',1780086400.0);
INSERT INTO "versions" VALUES(2,'3af35bfeb61a5032953e5a80bdcd5fae6ec81999ab194a9403be127370b10f0f','0000000000000000000000000000000000000002','0000000000000000000000000000000000000000000000000000000000000002','v0.57.0-2-g0000000000000',1780172800.0);
INSERT INTO "versions" VALUES(3,'68573afa65db02eb90d6a3ed1063f199cea896ba67bcc00b42400d445559b4aa','0000000000000000000000000000000000000003','0000000000000000000000000000000000000000000000000000000000000003','v0.57.0-3-g0000000000000',1780259200.0);
INSERT INTO "versions" VALUES(4,'841c6ccb28ea2b18b03db78adb621c02e11074a3018551dcf69a6f7c7d098e1e','0000000000000000000000000000000000000004','0000000000000000000000000000000000000000000000000000000000000004','v0.57.0-4-g0000000000000',1780345600.0);
INSERT INTO "versions" VALUES(5,'ac45514d286abe85addb49d2130ec8dd70c1cbdc465b51706b235ea5d11f400b','0000000000000000000000000000000000000005','0000000000000000000000000000000000000000000000000000000000000005','v0.57.0-5-g0000000000000',1780432000.0);
INSERT INTO "versions" VALUES(6,'847d48900be2051fa796bcafd8174d742d4bbf2cc89bcd10aa90f9e3fc710b2f','0000000000000000000000000000000000000006','0000000000000000000000000000000000000000000000000000000000000006','v0.57.0-6-g0000000000000',1780518400.0);
INSERT INTO "versions" VALUES(7,'3186de11aee51a13aa8672a25e070792131a30822ae7d92451901b5ffea7db31','0000000000000000000000000000000000000007','0000000000000000000000000000000000000000000000000000000000000007','v0.57.0-7-g0000000000000',1780604800.0);
INSERT INTO "versions" VALUES(8,'a4b516ba232b7912b6c937b9b17cbf8c7aa4fd9cb660b32920b817aec1c689b5','0000000000000000000000000000000000000008','0000000000000000000000000000000000000000000000000000000000000008','v0.57.0-8-g0000000000000',1780691200.0);
INSERT INTO "versions" VALUES(9,'8051b87c136e2d86622a0b6098500fc7b2cc3c8f9b37192efb1a38c84640febd','0000000000000000000000000000000000000009','0000000000000000000000000000000000000000000000000000000000000009','v0.57.0-9-g0000000000000',1780777600.0);
INSERT INTO "versions" VALUES(10,'bd1a38df703d5dedfa05e9047d8833a117dc1ddeca807449b851b3c9b7a45b9a','000000000000000000000000000000000000000a','000000000000000000000000000000000000000000000000000000000000000a','v0.57.0-10-g000000000000',1780864000.0);
INSERT INTO "versions" VALUES(11,'175a54e522b11f261b9ac7653b18b0fd21792fb218982ab83e99a180d08daae0','000000000000000000000000000000000000000b','000000000000000000000000000000000000000000000000000000000000000b','v0.57.0-11-g000000000000',1780950400.0);
INSERT INTO "versions" VALUES(12,'7f11d9f537dabd7ebafd2df2db6dcc769108774ef2f07d631163c66ddd107aa4','000000000000000000000000000000000000000c','000000000000000000000000000000000000000000000000000000000000000c','v0.57.0-12-g000000000000',1781036800.0);
INSERT INTO "versions" VALUES(13,'4501bb61a7a1b142ee1cac09bc022234868973227a779555ead4e605181ac05e','000000000000000000000000000000000000000d','000000000000000000000000000000000000000000000000000000000000000d','v0.57.0-13-g000000000000',1781123200.0);
INSERT INTO "versions" VALUES(14,'fb5c1952d6de98ce7863e4f8b8a0e1038b1cf17b37674115403cccfa4f161874','000000000000000000000000000000000000000e','000000000000000000000000000000000000000000000000000000000000000e','v0.57.0-14-g000000000000',1781209600.0);
INSERT INTO "versions" VALUES(15,'ddff51b06d71fad29db1a8f91ff4908b0823db94e714596e7ea63fe640742732','000000000000000000000000000000000000000f','000000000000000000000000000000000000000000000000000000000000000f','v0.57.0-15-g000000000000',1781296000.0);
INSERT INTO "versions" VALUES(16,'6039d4458771be1625139d63e960ae5536947d38cba6cf6bd2adcb57d0d45709','0000000000000000000000000000000000000010','0000000000000000000000000000000000000000000000000000000000000010','v0.57.0-16-g000000000000',1781382400.0);
INSERT INTO "versions" VALUES(17,'893bfc3e86cade43717963264d625220755c55d2d7f8ea8a46781d6ae9a6b0ac','0000000000000000000000000000000000000011','0000000000000000000000000000000000000000000000000000000000000011','v0.57.0-17-g000000000000',1781468800.0);
INSERT INTO "versions" VALUES(18,'e7394ccfd60fc9d5e0df88d8e0ddba91c994515164ae9bdac4f298e8a9c3b73a','0000000000000000000000000000000000000012','0000000000000000000000000000000000000000000000000000000000000012','v0.57.0-18-g000000000000',1781555200.0);
INSERT INTO "versions" VALUES(19,'984de64d47cb18233bc43338067abff28be420cd6bd4876b2289b5d27032f50d','0000000000000000000000000000000000000013','0000000000000000000000000000000000000000000000000000000000000013','v0.57.0-19-g000000000000',1781641600.0);
INSERT INTO "versions" VALUES(20,'6fdb97e6c2bd3bf7ede0b64824f4ce7ae63e8cf4a45a97797e4874ca94c065be','0000000000000000000000000000000000000014','0000000000000000000000000000000000000000000000000000000000000014','v0.57.0-20-g000000000000',1781728000.0);
INSERT INTO "versions" VALUES(21,'ddc8e1f9e7404e86822bb7a21024c517baf0a9e5d982abf4c41c6b2c89c9db72','0000000000000000000000000000000000000015','0000000000000000000000000000000000000000000000000000000000000015','v0.57.0-21-g000000000000',1781814400.0);
INSERT INTO "versions" VALUES(22,'a5617fb19775354446ffd3d4be1a2805fec627a167f72460676c603c2863396e','0000000000000000000000000000000000000016','0000000000000000000000000000000000000000000000000000000000000016','v0.57.0-22-g000000000000',1781900800.0);
INSERT INTO "versions" VALUES(23,'aee6891ee0c7c46e96ea1898ecbffe49ecead0c58e28198d82c44c95b66d3d83','0000000000000000000000000000000000000017','0000000000000000000000000000000000000000000000000000000000000017','v0.57.0-23-g000000000000',1781987200.0);
INSERT INTO "versions" VALUES(24,'314cfe56d47aa8929a319b5a51c75033f27de7019abbb4e83ceef38fed7cdf23','0000000000000000000000000000000000000018','0000000000000000000000000000000000000000000000000000000000000018','v0.57.0-24-g000000000000',1782073600.0);
INSERT INTO "versions" VALUES(25,'0d0a2e80582e466f7b98c8ef57cebf2c31160cfc9161889787011fd22dd91dd4','6.1.170-1','dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd','Linux 6.1.0-49-cloud-amd64',0.0);
CREATE INDEX samples_run ON samples (run);
CREATE INDEX samples_taken ON samples (taken);
CREATE INDEX judged_run ON judged (run);
CREATE INDEX judged_taken ON judged (taken);
CREATE INDEX documents_run ON documents (run);
CREATE INDEX documents_taken ON documents (taken);
CREATE INDEX samples_series ON samples (metric_id, cell, subject);
CREATE INDEX judged_test ON judged (suite, cell, test);
CREATE INDEX documents_about ON documents (kind, cell, subject);
CREATE TRIGGER metrics_kept_update BEFORE UPDATE ON metrics BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END;
CREATE TRIGGER metrics_kept_delete BEFORE DELETE ON metrics BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END;
CREATE TRIGGER versions_kept_update BEFORE UPDATE ON versions BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END;
CREATE TRIGGER versions_kept_delete BEFORE DELETE ON versions BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END;
CREATE TRIGGER environments_kept_update BEFORE UPDATE ON environments BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END;
CREATE TRIGGER environments_kept_delete BEFORE DELETE ON environments BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END;
CREATE TRIGGER samples_kept_update BEFORE UPDATE ON samples BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END;
CREATE TRIGGER samples_kept_delete BEFORE DELETE ON samples BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END;
CREATE TRIGGER judged_kept_update BEFORE UPDATE ON judged BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END;
CREATE TRIGGER judged_kept_delete BEFORE DELETE ON judged BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END;
CREATE TRIGGER documents_kept_update BEFORE UPDATE ON documents BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END;
CREATE TRIGGER documents_kept_delete BEFORE DELETE ON documents BEGIN SELECT RAISE(ABORT, 'the history is append-only'); END;
COMMIT;
